"""Which of the treaty's measures the software answers, and which test shows it (`foedus law coverage`)."""
