"""Others that go to goals with our robots, on well-kept libraries (extra ``benchmark``)."""
