"""The HTTP side: routes parse, call and render; no rule is decided here."""
