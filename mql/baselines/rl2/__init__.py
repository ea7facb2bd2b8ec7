"""RL^2 (Duan et al. 2016, arXiv 1611.02779; Wang et al. 2016, arXiv 1611.05763): PPO with a memory over trials."""
