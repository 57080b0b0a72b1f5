"""Writes as a norm hears them: landed vectors, their lengths at every site, and the closure error."""
