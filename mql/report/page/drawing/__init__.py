"""The figures of a report, one file per question that they answer."""
