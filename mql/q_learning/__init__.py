"""DQN (Mnih et al. 2015) and C51 with n-step returns and prioritised replay, both with proximal updates."""
