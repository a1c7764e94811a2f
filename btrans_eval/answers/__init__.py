"""From the text of a response to its answer, and from answers to classes and votes."""
