"""Publishing in GitLab CI: report artifacts and a note on the merge request."""
