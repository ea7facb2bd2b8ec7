"""A network of planes in ONNX chooses what it chooses in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.agent.reactive import ReactiveAgent
from mql.q_learning.learning import _BestChoice
from mql.q_learning.networks import make_network
from mql.q_learning.settings import DQN, RAINBOW, QSettings


@pytest.mark.parametrize("method", [DQN, RAINBOW])
def test_choices_of_planes_are_those_of_the_graph(method: QSettings) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from mql.deploy.graph import to_graph

    network = make_network((4, 10, 10), 6, method, seed=0)
    for parameter in network.parameters():  # (as made, one of Rainbow's prefers one choice everywhere)
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    graph = to_graph(ReactiveAgent(400, 6, _BestChoice(network, (10, 10, 4))))
    session = onnxruntime.InferenceSession(graph.model)
    chosen = []
    for seed in range(50):
        obs = (np.random.default_rng(seed).random((1, 400)) < 0.1).astype(np.float32)
        (action,) = session.run(["action"], {"obs": obs})
        planes = torch.from_numpy(obs).view(1, 10, 10, 4).permute(0, 3, 1, 2)
        chosen.append(int(action.argmax()))
        assert chosen[-1] == int(network(planes).argmax()) and action.sum() == 1.0
    assert len(set(chosen)) > 1
