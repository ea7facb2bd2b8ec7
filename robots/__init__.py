"""Robot descriptions: facts with units and sources, compared with the compiled models by the tests."""
