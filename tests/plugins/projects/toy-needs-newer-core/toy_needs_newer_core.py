"""Must not be imported: the core is older than this plugin asks for."""

raise AssertionError("imported although the core is too old")
