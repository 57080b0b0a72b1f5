"""Tables and lines of text for people, fitted to a width: nothing is ever cropped without a sign."""
