"""Irregular English verbs. Source: NIH SPECIALIST Lexicon tables in the package lemminflect (MIT)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.resources import files

from gate.demo.questions import Question

LONGEST_VERB = 10
_FIELDS = 6  # base, part of speech, past, participle, -ing form, -s form


@dataclass(frozen=True)
class Verb:
    """The forms of an irregular verb; `past` and `participle` may be equal."""

    base: str
    past: str
    participle: str
    ing: str
    third: str

    @property
    def overregularised(self) -> str:
        """The regular past form that a learner might use; the -ing form has the same stem (digging, digged)."""
        return self.ing.removesuffix("ing") + "ed"


def irregular_verbs() -> list[Verb]:
    """Return the verbs with an irregular past and without alternative forms, sorted by base form."""
    table = gzip.decompress(files("lemminflect").joinpath("resources/infl_lu.csv.gz").read_bytes())
    verbs = set()
    for line in table.decode("utf-8").splitlines():
        fields = line.split(",")
        if len(fields) != _FIELDS or fields[1] != "verb" or "/" in line or len(fields[0]) > LONGEST_VERB:
            continue
        base, _, past, participle, ing, third = fields
        # an empty participle is equal to the past form
        verb = Verb(base, past, participle or past, ing, third)
        if not past.endswith("ed") and ing.endswith("ing") and _distinct(verb):
            verbs.add(verb)
    return sorted(verbs, key=lambda verb: verb.base)


def verb_questions(verbs: list[Verb]) -> list[Question]:
    """Return questions such as `They sing today, and yesterday they` (sang).

    `They sing now, and they have already` (sung) follows only if the participle differs from the other forms.
    """
    questions = []
    for verb in verbs:
        distractors = (verb.overregularised, verb.ing, verb.third)
        questions.append(Question(f"They {verb.base} today, and yesterday they", verb.past, distractors))
        if verb.participle not in (verb.past, verb.base):
            distractors = (verb.overregularised, verb.past, verb.third)
            stem = f"They {verb.base} now, and they have already"
            questions.append(Question(stem, verb.participle, distractors))
    return questions


def _distinct(verb: Verb) -> bool:
    """Tell whether all choices of the verb's questions differ."""
    forms = (verb.base, verb.past, verb.ing, verb.third, verb.overregularised)
    return all(form.isalpha() for form in forms) and len({*forms, verb.participle}) >= len(forms)
