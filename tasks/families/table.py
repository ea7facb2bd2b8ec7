"""The table of mql's own families, by name. A family's module is imported when the family is loaded, not here."""

from __future__ import annotations

from mql.tasks.families.meta_world.names import ENVIRONMENTS, STEPPED

# name, the function that builds the family, as module:function, and the arguments that it gets.
TABLE: tuple[tuple[str, ...], ...] = (
    ("ant-dir", "mql.tasks.families.locomotion.ant_dir:ant_dir"),
    ("ant-dir-oracle", "mql.tasks.families.locomotion.ant_dir:ant_dir", "oracle"),
    ("ant-dir-legacy", "mql.tasks.families.locomotion.ant_dir:ant_dir", "legacy"),
    ("ant-dir-contact", "mql.tasks.families.locomotion.ant_dir:ant_dir", "contact"),
    ("ant-dir-angles", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles"),
    ("ant-dir-angles-oracle", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles", "oracle"),
    ("ant-dir-angles-contact", "mql.tasks.families.locomotion.ant_dir:ant_dir_angles", "contact"),
    ("ant-goal", "mql.tasks.families.locomotion.ant_goal:ant_goal"),
    ("ant-goal-oracle", "mql.tasks.families.locomotion.ant_goal:ant_goal", "oracle"),
    ("ant-goal-legacy", "mql.tasks.families.locomotion.ant_goal:ant_goal", "legacy"),
    ("ant-goal-contact", "mql.tasks.families.locomotion.ant_goal:ant_goal", "contact"),
    ("arm-drawer", "mql.tasks.families.arms.arm_drawer:arm_drawer"),
    ("arm-drawer-oracle", "mql.tasks.families.arms.arm_drawer:arm_drawer", "oracle"),
    ("arm-peg", "mql.tasks.families.arms.arm_peg:arm_peg"),
    ("arm-peg-oracle", "mql.tasks.families.arms.arm_peg:arm_peg", "oracle"),
    ("arm-push", "mql.tasks.families.arms.arm_push:arm_push"),
    ("arm-push-oracle", "mql.tasks.families.arms.arm_push:arm_push", "oracle"),
    ("arm-reach", "mql.tasks.families.arms.arm_reach:arm_reach"),
    ("arm-reach-oracle", "mql.tasks.families.arms.arm_reach:arm_reach", "oracle"),
    ("cheetah-dir", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir"),
    ("cheetah-dir-oracle", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir_oracle"),
    ("cheetah-dir-legacy", "mql.tasks.families.locomotion.cheetah_dir:cheetah_dir_legacy"),
    ("cheetah-faults", "mql.tasks.families.locomotion.cheetah_faults:cheetah_faults"),
    ("cheetah-faults-oracle", "mql.tasks.families.locomotion.cheetah_faults:cheetah_faults", "oracle"),
    ("cheetah-vel", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel"),
    ("cheetah-vel-oracle", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_oracle"),
    ("cheetah-vel-legacy", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_legacy"),
    ("cheetah-vel-narrow", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_narrow"),
    ("cheetah-vel-narrow-oracle", "mql.tasks.families.locomotion.cheetah_vel:cheetah_vel_narrow_oracle"),
    ("hopper-params", "mql.tasks.families.locomotion.hopper_params:hopper_params"),
    ("hopper-params-oracle", "mql.tasks.families.locomotion.hopper_params:hopper_params", "oracle"),
    ("hopper-params-v5", "mql.tasks.families.locomotion.hopper_params:hopper_params", "v5"),
    ("humanoid-dir", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir"),
    ("humanoid-dir-oracle", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "oracle"),
    ("humanoid-dir-legacy", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "legacy"),
    ("humanoid-dir-contact", "mql.tasks.families.locomotion.humanoid_dir:humanoid_dir", "contact"),
    ("point-robot", "mql.tasks.families.small.point_robot:point_robot"),
    ("point-robot-oracle", "mql.tasks.families.small.point_robot:point_robot_oracle"),
    ("reacher-goal", "mql.tasks.families.small.reacher_goal:reacher_goal"),
    ("reacher-goal-narrow", "mql.tasks.families.small.reacher_goal:reacher_goal_narrow"),
    ("reacher-goal-oracle", "mql.tasks.families.small.reacher_goal:reacher_goal_oracle"),
    ("walker-params", "mql.tasks.families.locomotion.walker_params:walker_params"),
    ("walker-params-oracle", "mql.tasks.families.locomotion.walker_params:walker_params", "oracle"),
    ("walker-params-v5", "mql.tasks.families.locomotion.walker_params:walker_params", "v5"),
    ("walker-params-legacy", "mql.tasks.families.locomotion.walker_params:walker_params", "legacy"),
    ("fetch-reach", "mql.tasks.families.robotics.fetch:fetch", "reach"),
    ("fetch-reach-wrapped", "mql.tasks.families.robotics.fetch:wrapped", "reach"),
    ("fetch-reach-sparse", "mql.tasks.families.robotics.fetch:fetch", "reach", "sparse"),
    ("fetch-reach-physics", "mql.tasks.families.robotics.fetch:fetch", "reach", "physics"),
    ("fetch-push", "mql.tasks.families.robotics.fetch:fetch", "push"),
    ("fetch-push-wrapped", "mql.tasks.families.robotics.fetch:wrapped", "push"),
    ("fetch-push-sparse", "mql.tasks.families.robotics.fetch:fetch", "push", "sparse"),
    ("fetch-push-physics", "mql.tasks.families.robotics.fetch:fetch", "push", "physics"),
    ("fetch-slide", "mql.tasks.families.robotics.fetch:fetch", "slide"),
    ("fetch-slide-wrapped", "mql.tasks.families.robotics.fetch:wrapped", "slide"),
    ("fetch-slide-sparse", "mql.tasks.families.robotics.fetch:fetch", "slide", "sparse"),
    ("fetch-slide-physics", "mql.tasks.families.robotics.fetch:fetch", "slide", "physics"),
    ("fetch-pick", "mql.tasks.families.robotics.fetch:fetch", "pick"),
    ("fetch-pick-wrapped", "mql.tasks.families.robotics.fetch:wrapped", "pick"),
    ("fetch-pick-sparse", "mql.tasks.families.robotics.fetch:fetch", "pick", "sparse"),
    ("fetch-pick-physics", "mql.tasks.families.robotics.fetch:fetch", "pick", "physics"),
    *(
        (f"ml1-{name}", f"mql.tasks.families.meta_world.{'stepped' if name in STEPPED else 'family'}:ml1", name)
        for name in ENVIRONMENTS
    ),
    *((f"ml1-{name}-wrapped", "mql.tasks.families.meta_world.stepped:ml1_wrapped", name) for name in STEPPED),
    ("ml10", "mql.tasks.families.meta_world.family:ml10"),
    ("ml45", "mql.tasks.families.meta_world.family:ml45"),
    ("mt10", "mql.tasks.families.meta_world.family:mt10"),
    ("adroit-door", "mql.tasks.families.robotics.adroit:adroit", "door"),
    ("adroit-hammer", "mql.tasks.families.robotics.adroit:adroit", "hammer"),
    ("hand-reach", "mql.tasks.families.robotics.hand_reach:hand_reach"),
    ("kitchen", "mql.tasks.families.robotics.kitchen:kitchen"),
    ("kitchen-sparse", "mql.tasks.families.robotics.kitchen:kitchen", "sparse"),
    ("maze", "mql.tasks.families.robotics.maze:maze"),
)


def names() -> list[str]:
    """Return the name of every family of the table."""
    return [row[0] for row in TABLE]
