"""Parameters as training programs hold them: recognised by their names, checked in full, turned into our tree."""
