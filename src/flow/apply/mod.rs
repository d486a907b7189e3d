//! Carries out a plan, and says honestly what became of each step.
