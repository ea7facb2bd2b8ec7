"""Configurations: defaults, precedence, what is refused and with which words."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from mql.config.allowed_values import allowed
from mql.config.loading import (
    flat,
    has_published_values,
    load_config,
    override,
    parse_overrides,
    read_resolved,
    to_yaml,
)
from mql.config.schema import PROFILES, AgentConfig, Config
from mql.config.yaml_text import FIELDS, MODELS, SECTIONS
from mql.errors import UserError

PACKAGED = sorted(
    path.name.removesuffix(".yaml") for path in resources.files("mql.configs").iterdir() if path.name.endswith(".yaml")
)
SEVERAL_LR = "did you mean 'agent.lr' or 'adapt.lr' or 'rl2.lr' or 'p3o.lr' or 'q_learning.lr'?"


def error_of(target: str | Path, overrides: Sequence[str] = (), families: Sequence[str] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_config(str(target), overrides=overrides, families=families)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def test_every_field_has_a_line_of_text_and_says_what_it_takes() -> None:
    for key, field in FIELDS.items():
        assert field.description and field.description.endswith("."), key
        assert allowed(field), key
    for section in SECTIONS:
        assert MODELS[section].__doc__ and (section in Config.model_fields) != ("." in section)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("family", PACKAGED)
def test_packaged_experiments_resolve_in_every_profile(family: str, profile: str) -> None:
    config = load_config(family, overrides=[f"profile={profile}"])
    assert (config.family, config.profile) == (family, profile)


@pytest.mark.parametrize("family", PACKAGED)
def test_packaged_experiments_name_their_own_family(family: str) -> None:
    text = (resources.files("mql.configs") / f"{family}.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["family"] == family


# Of the released commands: lr, policy delay, exploration noise, target noise, H, GRU units, largest log weight, C,
# whether observations are among the propensity's features, updates of step 1 and 2, batch of step 2 (in 256), random
# steps.
RELEASED = {
    "ant-dir": (3e-4, 4, 0.2, 0.4, 25, 30, 1.2, 0.05, False, 5, 400, 5, 10_000),
    "humanoid-dir": (3e-4, 3, 0.2, 0.3, 15, 20, 2.0, 0.1, True, 5, 15, 5, 100_000),
    "cheetah-vel": (1e-3, 2, 0.3, 0.3, 20, 15, 1.0, 0.1, False, 10, 100, 5, 50_000),
    "cheetah-dir": (3e-4, 2, 0.3, 0.3, 20, 20, 1.5, 0.5, False, 10, 50, 10, 10_000),
    "ant-goal": (4e-4, 4, 0.3, 0.3, 40, 40, 2.0, 0.1, True, 10, 150, 1, 225_000),
    "walker-params": (8e-4, 3, 0.2, 0.2, 10, 30, 1.1, 0.06, True, 10, 400, 5, 80_000),
}
UPDATES_PER_STEP = {"humanoid-dir": 2.5, "cheetah-dir": 2.5, "ant-goal": 0.2, "walker-params": 0.2}  # else 1


@pytest.mark.parametrize("family", RELEASED)
def test_paper_profile_holds_the_released_values(family: str) -> None:
    config = load_config(family, overrides=["profile=paper"])
    agent, train, adapt = config.agent, config.train, config.adapt
    assert (
        agent.lr,
        agent.policy_delay,
        agent.exploration_noise,
        agent.target_policy_noise,
        agent.context_length,
        agent.context_dim,
        adapt.max_log_weight,
        adapt.inverse_regularization,
        adapt.features == "obs_context",
        adapt.step1_updates,
        adapt.step2_updates,
        adapt.batch_size / 256,
        train.random_steps,
    ) == RELEASED[family]
    assert 1 / train.env_steps_per_update == UPDATES_PER_STEP.get(family, 1.0)
    assert train.replay_capacity == (500_000 if family == "humanoid-dir" else 1_000_000)
    assert (agent.hidden_sizes, train.batch_size, agent.discount, agent.tau) == ((300, 300), 256, 0.99, 0.005)
    assert (agent.target_noise_clip, agent.normalize, agent.layer_norm, agent.shared_encoder) == (
        0.5,
        False,
        False,
        False,
    )
    assert (agent.context_mode, train.episodes_per_iteration, train.anneal_steps) == ("window", 1, 0)
    assert (adapt.method, adapt.adaptation_episodes, adapt.lr, adapt.weighting) == ("paper", 1, 1e-3, "loss")


@pytest.mark.parametrize("family", PACKAGED)
def test_what_was_tuned_for_the_fast_profile_stays_out_of_the_paper_profile(family: str) -> None:
    """Where nothing is published, what all published experiments share is all that differs from no file at all."""
    config, bare = (
        flat(load_config(family, overrides=["profile=paper"])),
        flat(load_config("x", overrides=["profile=paper"])),
    )
    differing = {key for key in config if key.startswith(("agent.", "train.", "adapt.")) and config[key] != bare[key]}
    published = yaml.safe_load((resources.files("mql.configs") / f"{family}.yaml").read_text()).get("profiles", {})
    assert differing <= {f"{section}.{key}" for section, keys in published.get("paper", {}).items() for key in keys}
    assert bool(published) == has_published_values(family) == (family in RELEASED or family == "cheetah-vel-narrow")


def test_precedence_goes_from_defaults_to_overrides(experiment: Path) -> None:
    packaged = load_config("cheetah-vel")
    assert packaged.agent.context_dim == 15 != AgentConfig().context_dim
    experiment.write_text("family: cheetah-vel\nagent: {exploration_noise: 0.4, lr: 1e-4}\n")
    from_file = load_config(str(experiment), overrides=["agent.lr=2e-4"])
    assert (from_file.agent.context_dim, from_file.agent.exploration_noise, from_file.agent.lr) == (15, 0.4, 2e-4)
    paper = load_config(str(experiment), overrides=["profile=paper"])
    assert (paper.agent.hidden_sizes, paper.agent.exploration_noise, paper.agent.lr) == ((300, 300), 0.4, 1e-4)
    assert load_config(str(experiment), overrides=["seed=3"], seed=4).seed == 4
    assert load_config("reacher-goal", overrides=["seed=3", "seed=5"]).seed == 5


def test_profile_block_comes_right_after_the_same_files_keys(experiment: Path) -> None:
    experiment.write_text("family: other\nagent: {lr: 0.1}\nprofiles: {paper: {agent: {lr: 0.2, tau: 0.5}}}\n")
    assert load_config(str(experiment)).agent.lr == 0.1
    paper = load_config(str(experiment), overrides=["profile=paper", "agent.tau=0.25"]).agent
    assert (paper.lr, paper.tau) == (0.2, 0.25)


@pytest.mark.parametrize(
    ("variant", "plain"),
    [
        ("cheetah-vel-oracle", "cheetah-vel"),
        ("cheetah-vel-narrow-oracle", "cheetah-vel-narrow"),  # which has an experiment of its own
        ("fetch-push-physics", "fetch-push"),
    ],
)
def test_variants_use_their_familys_experiment(variant: str, plain: str) -> None:
    values = flat(load_config(variant))
    assert values.pop("family") == variant
    assert values == {key: value for key, value in flat(load_config(plain)).items() if key != "family"}


def test_numbers_that_yaml_calls_text_are_numbers() -> None:
    config = load_config("point-robot", overrides=["train.env_steps=1e6", "agent.lr=1e-5", "train.batch_size=1_024"])
    assert (config.train.env_steps, config.agent.lr, config.train.batch_size) == (1_000_000, 1e-5, 1024)


def test_resolved_text_reads_back_the_same(tmp_path: Path) -> None:
    values = ["agent.lr=1e-05", "adapt.proximal_coef=0.1", "agent.hidden_sizes=[8]", "train.env_steps_per_update=0.3"]
    config = load_config("cheetah-dir", overrides=[*values, "profile=paper"], seed=7)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert read_resolved(path) == load_config(str(path)) == config
    assert set(flat(config)) == set(FIELDS)


def test_workers_are_as_many_as_threads_unless_given_and_are_saved_as_a_number(tmp_path: Path) -> None:
    def workers(*overrides: str) -> object:
        config = load_config("point-robot", overrides=overrides)
        assert config.workers == config.collect.workers
        return yaml.safe_load(to_yaml(config))["collect"]["workers"]

    assert [workers(), workers("threads=3"), workers("threads=3", "collect.workers=2")] == [1, 3, 2]
    assert Config(family="point-robot", threads=4).workers == 4
    config = load_config("point-robot", overrides=["collect.workers=2"])
    assert override(config, ["threads=5"]).workers == 2
    assert override(config, ["threads=5", "collect.workers=auto"]).workers == 5


def test_a_saved_configuration_without_workers_has_as_many_as_threads(tmp_path: Path) -> None:
    """Of runs from before there was the key: one number stood for both."""
    old = yaml.safe_load(to_yaml(load_config("point-robot", overrides=["threads=3"])))
    del old["collect"]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(old))
    assert read_resolved(path).workers == read_resolved(path).collect.workers == 3


def test_override_changes_only_what_it_names() -> None:
    config = load_config("cheetah-dir", overrides=["profile=paper"])
    longer = override(config, ["train.env_steps=2e6"])
    assert longer.train.env_steps == 2_000_000
    assert override(longer, [f"train.env_steps={config.train.env_steps}"]) == config


def test_a_config_is_frozen() -> None:
    config = Config(family="any")
    with pytest.raises(ValidationError):
        config.agent.lr = 1.0


def test_unknown_key_names_file_line_and_nearest_key(experiment: Path) -> None:
    experiment.write_text("family: point-robot\n\n# a comment\ntrain:\n  batch_size: 32\n  bach_size: 5\n")
    place = f"({experiment}:6 train.bach_size)"
    assert error_of(experiment) == f"unknown key 'bach_size' {place}: did you mean 'batch_size'?"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("family: a\nlr: 1\n", 2, SEVERAL_LR),
        ("family: a\nagent.lr: 1\n", 2, "write 'lr' indented below a line 'agent:'"),
        (
            "family: a\ntrain: {lr: 1}\n",
            2,
            "did you mean 'agent.lr' or 'adapt.lr' or 'rl2.lr' or 'p3o.lr' or 'q_learning.lr'?",
        ),
        ("family: a\nagnet: {lr: 1}\n", 2, "did you mean 'agent'"),
        ("family: a\n1: 2\n", 2, "unknown key '1'"),
        ("family: a\ntrain: 5\n", 2, "'train' is a section"),
        ("family: a\ntrain: [5]\n", 2, "'train' is a section"),
        ("family: a\nseed: 1\nseed: 2\n", 3, "the key 'seed' appears twice"),
        ("family: a\nagent:\n  lr: 1\n  tau: 1\n  lr: 1\n", 5, "it is already on line 3"),
        ("family: a\nseed: {\n", 3, "not valid YAML"),
        ("family: a\n\tseed: 1\n", 2, "not valid YAML"),
        ("family: a\nseed: !!python/object:os.system {}\n", 2, "not valid YAML"),
        ("family: a\nseed: &x [*x]\n", 2, "not valid YAML"),
        ("family: a\n---\nfamily: b\n", 2, "not valid YAML"),
        ("- family\n", 1, "not a mapping"),
        ("family: a\n? [x]\n: 1\n", 2, "a key is not a word"),
        ("schema: mql.task_family/1\n", 1, "the definition has no name"),
        ("family: a\nprofiles: {papr: {}}\n", 2, "unknown profile 'papr' "),
        ("family: a\nprofiles: {paper: {seed: 1, family: b}}\n", 2, "cannot depend on the profile"),
        ("family: a\nseed: null\n", 2, "seed is null"),
        ("family: a\nseed: 2020-01-01\n", 2, "seed is datetime.date(2020, 1, 1)"),
        ("family: [a]\n", 1, "family is ['a']"),
        ("family: a/../b\n", 1, "it must be a name of letters"),
        ("family: a\nprofile: slow\n", 2, "it must be 'fast' or 'paper'"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_line(experiment: Path, text: str, line: int, words: str) -> None:
    experiment.write_text(text)
    message = error_of(experiment)
    assert f"({experiment}:{line}" in message
    assert words in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"seed: 1\n", "no family is named"),
        (b"family: a\nseed: \xff\n", "byte 16 is not UTF-8 text"),
        (b"family: \x00a\n", "not valid YAML"),
        (b"family: " + b"[" * 1500, "not valid YAML"),
        (b"family: a\nseed: " + b"9" * 5000, "a number of 5,000 characters"),
    ],
)
def test_unusable_files_are_refused(experiment: Path, content: bytes, words: str) -> None:
    experiment.write_bytes(content)
    message = error_of(experiment)
    assert words in message
    assert str(experiment) in message


def test_missing_file_directory_and_byte_order_mark(tmp_path: Path, experiment: Path) -> None:
    assert error_of(experiment) == f"no such file ({experiment}): check the path, or give a family's name"
    assert "this is a directory" in error_of(f"{tmp_path}/")
    experiment.write_bytes(b"\xef\xbb\xbffamily: point-robot\r\nseed: 3\r\n")
    assert load_config(str(experiment)).seed == 3


def test_an_empty_section_changes_nothing(experiment: Path) -> None:
    experiment.write_text("family: point-robot\ntrain:\nprofiles:\n")
    assert load_config(str(experiment)) == load_config("point-robot")


@pytest.mark.parametrize(
    ("given", "shown", "must_be"),
    [
        ("train.batch_size=0", "0", "a whole number from 1 to"),
        ("train.batch_size=1.5", "1.5", "a whole number from 1 to"),
        ("train.batch_size=1e13", "'1e13'", "a whole number from 1 to"),
        ("train.batch_size=true", "true", "a whole number from 1 to"),
        ("train.batch_size=", "null", "a whole number from 1 to"),
        ("agent.burn_in=-1", "-1", "a whole number from 0 to"),
        ("agent.lr=0", "0", "a number from 1e-12 to 1"),
        ("agent.lr=.inf", "inf", "a number from 1e-12 to 1"),
        ("agent.lr=.nan", "nan", "a number from 1e-12 to 1"),
        ("agent.lr=fast", "'fast'", "a number from 1e-12 to 1"),
        ("agent.tau=1.5", "1.5", "a number above 0 and at most 1"),
        ("agent.discount=-0.1", "-0.1", "a number from 0 to 1"),
        ("agent.use_context=maybe", "'maybe'", "true or false"),
        ("agent.hidden_sizes=[]", "[]", "a list [x, ...] where each is a whole number"),
        ("agent.hidden_sizes=[64, 0]", "[64, 0]", "a list [x, ...] where each is a whole number"),
        ("agent.hidden_sizes=64", "64", "a list [x, ...] where each is a whole number"),
        ("agent.context_mode=cary", "'cary'", "'carry' or 'window'"),
        ("adapt.proximal_coef=1.1", "1.1", "'auto' or a number from 0 to 1"),
        ("adapt.proximal_coef=none", "'none'", "'auto' or a number from 0 to 1"),
        ("seed=-1", "-1", "a whole number from 0 to"),
        ("threads=0", "0", "a whole number from 1 to 1_024"),
        ("collect.workers=0", "0", "'auto' or a whole number from 1 to 1_024"),
        ("collect.workers=all", "'all'", "'auto' or a whole number from 1 to 1_024"),
    ],
)
def test_wrong_values_are_shown_with_what_is_allowed(given: str, shown: str, must_be: str) -> None:
    key = given.partition("=")[0]
    message = error_of("point-robot", [given])
    assert message.startswith(f"{key} is {shown} (--set {key}): it must be {must_be}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.batch_size", "--set 'train.batch_size' has no '=': write it as --set section.key=value"),
        ("=5", "--set '=5' has no '=': write it as --set section.key=value"),
        ("train=5", "'train' is a section (--set train): set one of its keys, such as train.env_steps=VALUE"),
        ("batch=5", "unknown key 'batch' (--set batch): did you mean 'train.batch_size' or"),
        ("zork=5", "unknown key 'zork' (--set zork): choose one of"),
        ("tau=5", "unknown key 'tau' (--set tau): did you mean 'agent.tau'?"),
        ("trian.tau=5", "unknown key 'trian.tau' (--set trian.tau): did you mean 'agent.tau'?"),
        ("agent.tua=5", "unknown key 'tua' (--set agent.tua): did you mean 'tau'"),
        ("agent.lr=[", "'[' is not a value (--set agent.lr): quote it, or fix it"),
    ],
)
def test_mistakes_in_overrides(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_overrides([text])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["train.random_steps=7", "train.env_steps=6"], "(--set train.env_steps): lower train.random_steps or raise"),
        (["agent.segment_length=7"], "train.batch_size is 256, not a multiple of agent.segment_length = 7"),
        (["adapt.batch_size=100"], "adapt.batch_size is 100, not a multiple of agent.segment_length = 8"),
        (
            ["adapt.batch_size=100"],
            "(--set adapt.batch_size): agent.context_mode carry needs a multiple, such as 96",
        ),
        (["adapt.min_weight=3"], "adapt.min_weight is 3, above the largest weight exp(1) (--set adapt.min_weight)"),
    ],
)
def test_values_that_do_not_agree(given: list[str], words: str) -> None:
    agreeing = ["agent.context_mode=carry", "agent.segment_length=8", "train.batch_size=256", "adapt.batch_size=256"]
    assert words in error_of("point-robot", [*agreeing, "adapt.max_log_weight=1", *given])


def test_segments_do_not_bind_the_batch_in_window_mode() -> None:
    config = load_config("point-robot", overrides=["agent.context_mode=window", "train.batch_size=100"])
    assert config.train.batch_size == 100


def test_family_names_are_checked_where_they_are_known(tmp_path: Path, experiment: Path) -> None:
    families = ["point-robot", "cheetah-vel"]
    assert load_config("point-robot", families=families).family == "point-robot"
    assert error_of("cheetah-vle", families=families) == "unknown family 'cheetah-vle': did you mean 'cheetah-vel'?"
    experiment.write_text("family: cheeta-vel\n")
    message = f"unknown family 'cheeta-vel' ({experiment}:1 family): did you mean 'cheetah-vel'?"
    assert error_of(experiment, families=families) == message


def test_a_family_without_an_experiment_has_the_defaults() -> None:
    assert load_config("no-experiment-for-this") == Config(family="no-experiment-for-this").resolved()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("agent.learning_rate=1e-3", "did you mean 'agent.lr'?"),
        ("agent.gamma=0.9", "did you mean 'agent.discount'?"),
        ("train.total_timesteps=1000", "did you mean 'train.env_steps'?"),
        ("learning_starts=100", "did you mean 'train.random_steps' or 'q_learning.random_steps'?"),
    ],
)
def test_names_that_other_libraries_have_are_understood(typed: str, meant: str) -> None:
    assert meant in error_of("point-robot", [typed])
