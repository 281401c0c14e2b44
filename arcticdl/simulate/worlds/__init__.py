"""What the physics of simulated scenes is made with, and answers that know it."""
