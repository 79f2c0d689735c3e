"""Plugin that requires a newer core; must not be imported."""

raise AssertionError("imported although the core is too old")
