"""How what an agent sees and does differs from the truth: noise, bias, delays, gains, limits; for any family."""
