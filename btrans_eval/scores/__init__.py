"""Numbers per question: estimators over responses, diversity, intervals and tests."""
