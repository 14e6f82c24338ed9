"""Makes scores: exams, Pass@K probes, paired comparisons."""
