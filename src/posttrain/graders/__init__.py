"""Right or wrong: a problem and an answer in, a grade out. Sees neither weights nor chat."""
