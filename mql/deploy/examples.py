"""The examples in an exported folder, written for its policy: Python, C++, and a ROS 2 node."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

STEPS = 100  # of an example's loop, at most

_PYTHON = Template('''"""A control loop for $family: put your robot in place of the functions."""

import time
from pathlib import Path

import numpy as np
from controller import Controller
$imports

def read_sensors():
    return np.zeros($obs)  # README.md says in which order, units and scale


def move(action):
    pass  # $action numbers in [-1, 1]

$reward
controller = Controller(Path(__file__).parent, on_fault="hold")  # "stop": 0; rate_limit=..., mode="shadow"
controller.reset()
obs, last_reward, due = read_sensors(), None, time.perf_counter()
for step in range($steps):
    action = controller.act(obs, last_reward)
    if controller.last_fault:
        print(step, controller.last_fault)
    move(action)
    due += controller.control_timestep
    time.sleep(max(0.0, due - time.perf_counter()))
    before, obs = obs, read_sensors()
    $measured
print(controller.statistics())
''')

_CPP = Template("""// A control loop for $family: put your robot in place of the functions. In this folder:
//   g++ -std=c++17 example.cpp -I ORT/include -L ORT/lib -lonnxruntime -o example && ./example
// It checks nothing: see controller.py for what a robot should refuse, limit and count.
#include <onnxruntime_cxx_api.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>

constexpr int64_t kObs = $obs, kAction = $action;
constexpr double kSeconds = $seconds;  // of a control step

std::array<float, kObs> ReadSensors() { return {}; }  // README.md says in which order, units and scale
float MeasureReward() { return 0.0f; }                 // of the action before
void Move(const float* action) { std::printf("%.4f ...\\n", action[0]); }  // kAction numbers in [-1, 1]

int main() {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "policy");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  Ort::Session session(env, ORT_TSTR("policy.onnx"), options);
  const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto tensor = [&memory](float* data, int64_t size) {
    const std::array<int64_t, 2> shape{1, size};
    return Ort::Value::CreateTensor<float>(memory, data, static_cast<size_t>(size), shape.data(), shape.size());
  };
  const char* inputs[] = {$inputs};
  const char* outputs[] = {$outputs};
$arrays
  auto due = std::chrono::steady_clock::now();
  for (int step = 0; step < $steps; ++step) {
    obs = ReadSensors();
$fill
    Ort::Value given[] = {$given};
    auto found = session.Run(Ort::RunOptions{nullptr}, inputs, given, std::size(given), outputs, std::size(outputs));
    const float* action = found[0].GetTensorData<float>();
    Move(action);
$keep
    due += std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(kSeconds));
    std::this_thread::sleep_until(due);
  }
}
""")

_ROS2 = Template('''"""A ROS 2 node for $family: `python3 ros2_node.py`, with rclpy, numpy and onnxruntime.

It acts every $seconds s ($rate Hz), by a timer, on the newest message of each topic:

| topic | type | quality of service |
| --- | --- | --- |
| observation (in) | std_msgs/Float32MultiArray, $obs numbers | best effort, the last one, volatile |$reward_row
| taken (in, shadow mode) | std_msgs/Float32MultiArray, $action numbers | best effort, the last one, volatile |
| reset (in) | std_msgs/Empty: an episode begins | reliable, the last one, volatile |
| action (out) | std_msgs/Float32MultiArray, $action numbers in [-1, 1] | reliable, the last one, volatile |

An observation that did not arrive since the last step is a fault. Parameters: mode, on_fault.
"""

from pathlib import Path

import rclpy
from controller import Controller
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Empty, Float32, Float32MultiArray

SENSORS = QoSProfile(
    reliability=ReliabilityPolicy.BEST_EFFORT,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.VOLATILE,
)
COMMANDS = QoSProfile(
    reliability=ReliabilityPolicy.RELIABLE,
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    durability=DurabilityPolicy.VOLATILE,
)


class PolicyNode(Node):
    """Acts at a fixed rate on what arrived last."""

    def __init__(self):
        super().__init__("policy")
        mode = self.declare_parameter("mode", "act").value
        on_fault = self.declare_parameter("on_fault", "hold").value
        self.controller = Controller(Path(__file__).parent, mode=mode, on_fault=on_fault)
        self.obs = self.reward = self.taken = None
        self.create_subscription(Float32MultiArray, "observation", self.see, SENSORS)
        self.create_subscription(Float32, "reward", self.feel, SENSORS)
        self.create_subscription(Float32MultiArray, "taken", self.watch, SENSORS)
        self.create_subscription(Empty, "reset", self.begin, COMMANDS)
        self.actions = self.create_publisher(Float32MultiArray, "action", COMMANDS)
        self.create_timer(self.controller.control_timestep, self.step)

    def see(self, message):
        self.obs = message.data

    def feel(self, message):
        self.reward = message.data

    def watch(self, message):
        self.taken = message.data

    def begin(self, message):
        self.controller.reset()
        self.obs = self.reward = self.taken = None

    def step(self):
        if self.obs is None:
            action = self.controller.fault("no_observation", "no observation since the last step")
        else:
            action = self.controller.act(self.obs, self.reward, last_action=self.taken)
        if self.controller.last_fault:
            self.get_logger().warning(self.controller.last_fault)
        self.obs = self.reward = self.taken = None
        self.actions.publish(Float32MultiArray(data=action.tolist()))


def main():
    rclpy.init()
    node = PolicyNode()
    try:
        rclpy.spin(node)
    finally:
        print(node.controller.statistics())
        node.destroy_node()


if __name__ == "__main__":
    main()
''')


def python_example(card: Mapping[str, Any]) -> str:
    """Return ``example.py``."""
    sizes = _sizes(card)
    imports, reward, measured = "", "", "last_reward = None  # this policy needs none"
    if card["reward"]["from"] == "reward.py":
        imports, measured = "from reward import TASK, reward\n", "last_reward = reward(before, action, obs, TASK)"
    elif card["reward"]["needed"]:
        reward = "\ndef measure_reward(before, action, after):\n    return 0.0  # README.md says what is rewarded\n\n"
        measured = "last_reward = measure_reward(before, action, obs)"
    return _PYTHON.substitute(
        family=card["family"],
        imports=imports,
        obs=sizes["obs"],
        action=sizes["action"],
        reward=reward,
        steps=min(STEPS, card["episode_length"]),
        measured=measured,
    )


def cpp_example(card: Mapping[str, Any]) -> str:
    """Return ``example.cpp``."""
    sizes, names = _sizes(card), [port["name"] for port in card["inputs"]]
    fill = {"last_reward": "    last_reward[0] = step ? MeasureReward() : 0.0f;"}
    fill |= {"first": "    first[0] = step ? 0.0f : 1.0f;", "known": "    known[0] = step ? 1.0f : 0.0f;"}
    keep = {
        "last_action": "    for (int64_t i = 0; i < kAction; ++i) last_action[i] = action[i];  // what was done",
        "state": "    const float* next_state = found[1].GetTensorData<float>();\n"
        f"    for (int64_t i = 0; i < {sizes.get('state')}; ++i) state[i] = next_state[i];",
    }
    return _CPP.substitute(
        family=card["family"],
        obs=sizes["obs"],
        action=sizes["action"],
        seconds=repr(float(card["control_timestep"])),
        inputs=", ".join(f'"{name}"' for name in names),
        outputs=", ".join(f'"{port["name"]}"' for port in card["outputs"]),
        arrays="\n".join(f"  std::array<float, {sizes[name]}> {name}{{}};" for name in names),
        steps=min(STEPS, card["episode_length"]),
        fill="\n".join(fill[name] for name in names if name in fill),
        given=", ".join(f"tensor({name}.data(), {sizes[name]})" for name in names),
        keep="\n".join(keep[name] for name in names if name in keep),
    )


def ros2_node(card: Mapping[str, Any]) -> str:
    """Return ``ros2_node.py``."""
    sizes, step = _sizes(card), float(card["control_timestep"])
    row = "\n| reward (in) | std_msgs/Float32, of the action before | best effort, the last one, volatile |"
    return _ROS2.substitute(
        family=card["family"],
        seconds=f"{step:g}",
        rate=f"{1.0 / step:g}",
        obs=sizes["obs"],
        action=sizes["action"],
        reward_row=row if card["reward"]["needed"] else "",
    )


def _sizes(card: Mapping[str, Any]) -> dict[str, int]:
    return {port["name"]: port["shape"][1] for port in (*card["inputs"], *card["outputs"])}
