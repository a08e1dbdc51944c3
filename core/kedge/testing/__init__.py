"""The test kit: contract suites, fakes and fixtures for those who extend Kedge."""
