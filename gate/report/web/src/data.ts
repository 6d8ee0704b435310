// The data inside the page, written by gate/report/payload.py and html.py.

/** 0: worse, 1: better, 2: another wrong answer. */
export type Kind = 0 | 1 | 2;

/** A flip, in the order of `_row` in payload.py. */
export type Row = [
  task: number,
  item: string,
  kind: Kind,
  prompt: string | null,
  target: string | null,
  baseline: string | null,
  candidate: string | null,
  scores: [number, number] | null,
  shift: number | null,
  choices: string[],
  picked: [number | null, number | null],
  right: number | null,
  logprobs: [number[], number[]],
  kl: number | null,
];

export interface Flip {
  readonly task: number;
  readonly item: string;
  readonly kind: Kind;
  readonly prompt: string | null;
  readonly target: string | null;
  readonly baseline: string | null;
  readonly candidate: string | null;
  readonly scores: [number, number] | null;
  readonly shift: number | null;
  readonly choices: string[];
  readonly picked: [number | null, number | null];
  readonly right: number | null;
  readonly logprobs: [number[], number[]];
  readonly kl: number | null;
}

export interface Flips {
  readonly tasks: string[];
  readonly flips: Flip[];
}

export interface Plots {
  readonly power: {
    drops: number[];
    decision: number[];
    tasks: [string, number[]][];
  } | null;
  readonly kl: {
    edges: number[];
    tasks: [string, number[], number[]][];
  } | null;
}

function embedded(id: string): unknown {
  return JSON.parse(document.getElementById(id)?.textContent ?? "null");
}

export function readPlots(): Plots {
  return embedded("data") as Plots;
}

export async function readFlips(): Promise<Flips> {
  let data = embedded("rows") as { gzip?: string; tasks: string[]; rows: Row[] };
  if (data.gzip !== undefined) {
    const text = atob(data.gzip);
    const packed = new Uint8Array(text.length);
    // a loop, because a callback per character takes a second for ten million characters
    for (let index = 0; index < text.length; index++) packed[index] = text.charCodeAt(index);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    data = JSON.parse(await new Response(stream).text());
  }
  return { tasks: data.tasks, flips: data.rows.map(flip) };
}

function flip(row: Row): Flip {
  const [task, item, kind, prompt, target, baseline, candidate, scores, shift, choices, picked, right, logprobs, kl] =
    row;
  return { task, item, kind, prompt, target, baseline, candidate, scores, shift, choices, picked, right, logprobs, kl };
}
