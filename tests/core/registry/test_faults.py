"""Whatever is wrong with a plugin is told at the start, in a sentence that says what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from kedge import ConfigError, PluginError
from kedge.registry import Registry, load_and_register

if TYPE_CHECKING:
    from pathlib import Path

    from tests.core.registry.conftest import Site

    from kedge.testing.fake_host import FakeHost


def fault_in(site: Site, code: str) -> str:
    """What is wrong with a plugin of that code beside a whole one."""
    site.install_whole()
    site.install("more", code)
    return site.fault("more")


def test_a_plugin_that_is_not_named_is_not_imported(site: Site) -> None:
    site.install_whole()
    module = site.install("unwanted", "raise RuntimeError")
    assert [plugin.name for plugin in Registry.load(site.settings()).plugins] == ["acme"]
    assert module not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_all_installed(site: Site) -> None:
    site.install_whole()
    fault = site.fault("acne", compute={"use": "amce"}, placement={"chain": ["capacty"]})
    plugin, compute, placement = fault.splitlines()
    assert 'plugins[0]: no plugin "acne" is installed; did you mean "acme"? installed: "acme", ' in plugin
    assert 'compute.use: no compute backend "amce" is installed; did you mean "acme"?' in compute
    assert (
        'placement.chain: no placement strategy "capacty" is installed; did you mean "capacity"?' in placement
    )


def test_a_class_may_have_another_name_than_its_plugin(site: Site, host: FakeHost) -> None:
    site.install_whole("acme", as_name="fast")
    settings = site.settings("acme", backend="fast")
    assert Registry.load(settings).build_compute(settings, host).name == "fast"


def test_a_plugin_without_the_kind_it_is_named_for_is_told_so(site: Site) -> None:
    site.install_whole()
    site.install("plain", "")
    fault = site.fault("acme", blobs={"use": "plain"})
    assert fault == 'settings: blobs.use: the plugin "plain" has no blob store of that name; there is: "acme"'


def test_an_import_that_fails_names_distribution_module_and_extra(site: Site) -> None:
    site.install_whole()
    requires = 'Provides-Extra: aws\nRequires-Dist: no.such-thing>=1; extra == "aws"\n'
    site.install("cloud", "import no_such_thing.parts", metadata=requires)
    assert site.fault("cloud") == (
        'settings: plugins[0]: plugin "cloud" (acme-cloud 1.2) cannot be imported: '
        'the module "no_such_thing" is missing; run: pip install "acme-cloud[aws]"'
    )


def test_an_import_that_fails_within_a_hook_is_told_once(site: Site) -> None:
    site.install_whole()
    site.install("cloud", "@hookimpl\ndef kedge_register_blobs():\n import no_such_thing")
    assert site.fault(blobs={"use": "cloud"}) == (
        'plugin "cloud" (acme-cloud 1.2) failed in kedge_register_blobs: the module "no_such_thing" '
        "is missing; install what provides it, perhaps: pip install no_such_thing"
    )


@pytest.mark.parametrize("code", ["def f(:", "1 / 0", "raise SystemError('x')"])
def test_a_module_that_breaks_on_import_is_told_with_its_reason(site: Site, code: str) -> None:
    assert "cannot be imported: " in fault_in(site, code)


def test_two_distributions_with_one_plugin_name_are_refused(site: Site) -> None:
    site.install("more", "", distribution="acme-one")
    assert 'the plugin name "more" is used by acme-' in fault_in(site, "")


def test_a_misspelt_hook_is_answered_with_the_nearest(site: Site) -> None:
    fault = fault_in(site, "@hookimpl\ndef kedge_build_stoped(build): ...")
    assert 'plugin "more" (acme-more 1.2): there is no hook kedge_build_stoped' in fault
    assert 'did you mean "kedge_build_stopped"?' in fault


def test_a_wrong_argument_is_answered_with_the_right_ones(site: Site) -> None:
    fault = fault_in(site, "@hookimpl\ndef kedge_build_error(bild, error): ...")
    assert 'kedge_build_error has no argument "bild"; did you mean "build"? it has: build, error' in fault


def test_a_hook_without_its_mark_is_noticed(site: Site) -> None:
    assert "kedge_startup is not marked; write `@hookimpl` above" in fault_in(
        site, "def kedge_startup(): ..."
    )


def test_a_hook_cannot_be_wrapped(site: Site) -> None:
    fault = fault_in(site, "@hookimpl(wrapper=True)\ndef kedge_startup():\n return (yield)")
    assert "kedge_startup cannot be wrapped" in fault


def test_two_classes_of_one_name_are_refused(site: Site) -> None:
    site.install_whole("one", as_name="acme")
    site.install_whole("two", as_name="acme")
    taken = 'plugin "two" (acme-two 1.2): the name of its compute backend "acme" is taken by plugin "one"'
    assert taken in site.fault("one", "two")


def test_a_strategy_cannot_take_the_name_of_one_of_kedges_own(site: Site) -> None:
    site.install_whole()
    site.install_whole("greedy", as_name="capacity")
    assert 'placement strategy "capacity" is taken by Kedge itself' in site.fault("greedy")


@pytest.mark.parametrize(
    ("change", "to", "fault"),
    [
        ("    async def stop(self, compute_id, *, grace): ...\n", "", "has no method `stop(self, "),
        ("    adopts = False\n", "", "has no `adopts`"),
        ("compute_id, *, grace)", "compute_id)", "has `stop(self, compute_id)`, but it is called as `stop("),
        ("async def start(self, request)", "async def start(self)", "has `start(self)`, but it is called as"),
        ("async def start(self, request)", "def start(self, request)", "`start`, which must be `async def`"),
        ("        yield\n    async def stop", "        ...\n    async def stop", "`exits`, which must yield"),
        ("    async def forget(self, compute_id): ...", "    forget = 1", "has `forget`, which is no method"),
        ("[AcmeCompute]", "[AcmeCompute(None, None)]", "is no class: return the class itself"),
        ("[AcmeCompute]", "AcmeCompute", "kedge_register_compute must return a list of classes"),
        ('    name = "acme"\n', "", "has no `name`"),
        ("Settings = Table", "Settings = dict", "has no `Settings`"),
        ("    def approve(", "    async def approve(", "has `approve`, which must be a plain `def`"),
        ("settings, host): self", "settings): self", "has `__init__(self, settings)`, but it is called as"),
    ],
)  # fmt: skip
def test_a_class_that_breaks_its_contract_is_refused(site: Site, change: str, to: str, fault: str) -> None:
    site.install_whole(change=change, to=to)
    assert fault in site.fault()


def test_a_class_that_only_inherits_from_its_contract_is_refused(site: Site) -> None:
    site.install_whole(
        change="class AcmeCompute(Base):", to="class AcmeCompute(Base, Compute): ...\nclass _(Base):"
    )
    assert "the compute backend AcmeCompute has no method `start(self, request)`" in site.fault()


def test_a_class_that_cannot_be_made_is_a_fault_of_its_plugin(site: Site, host: FakeHost) -> None:
    site.install_whole(change="self.settings, self.host = settings, host", to="1 / 0")
    registry = Registry.load(site.settings())
    with pytest.raises(PluginError, match=r'plugin "acme".* could not make its blob store "acme": ZeroDiv'):
        registry.build_blobs(site.settings(), host)


def test_mistakes_of_a_table_are_told_like_all_others(site: Site) -> None:
    site.install_whole()
    with pytest.raises(ConfigError) as caught:
        Registry.load(
            site.settings(compute={"acme": {"sped": 1}}, blobs={"acme": {"speed": "x"}, "acne": {}})
        )
    assert set(caught.value.mistakes) == {
        'settings: compute.acme.sped: unknown key; did you mean "speed"? known here: "speed"',
        "settings: blobs.acme.speed: must be a whole number",
        'settings: blobs.acne: is the table of no blob store that is installed; did you mean "acme"?',
    }


def test_the_table_of_a_backend_that_is_not_chosen_may_stay(site: Site) -> None:
    site.install_whole()
    site.install("other", "raise RuntimeError")
    assert Registry.load(site.settings(compute={"other": {"whatever": 1}}))


def test_settings_and_plugins_tell_their_mistakes_together(site: Site, tmp_path: Path) -> None:
    site.install_whole()
    path = tmp_path / "kedge.toml"
    path.write_text(
        'plugins = ["acne"]\nbuild = 1\n[compute]\nuse = "acme"\n[compute.acme]\nsped = 1\n'
        '[blobs]\nuse = "acme"\n[logs]\nuse = "acme"\n[forges]\nuse = ["acme"]\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_and_register(path, {}, {})
    assert [mistake.split(" ")[:2] for mistake in caught.value.mistakes] == [
        [f"{path}:2:", "build:"],
        [f"{path}:1:", "plugins[0]:"],
        [f"{path}:6:", "compute.acme.sped:"],
    ]


def test_settings_and_plugins_without_a_mistake_are_handed_out(site: Site) -> None:
    site.install_whole()
    sections = site.settings().model_dump(include={"compute", "runtime", "blobs", "logs", "forges"})
    settings, registry = load_and_register(None, {"KEDGE_PLUGINS": "acme"}, sections)
    assert settings.compute.use == "acme"
    assert [plugin.label for plugin in registry.plugins] == ['plugin "acme" (acme-acme 1.2)']


def test_every_hook_is_described_with_who_implements_it(site: Site) -> None:
    registry, plugin = site.load("@hookimpl\ndef kedge_startup(): ...")
    described = {hook["name"]: hook for hook in registry.describe()}
    assert described["kedge_startup"] == {
        "name": "kedge_startup",
        "kind": "event",
        "implementers": [
            {
                "plugin": "more",
                "distribution": "acme-more",
                "version": "1.2",
                "module": plugin.__name__,
            }
        ],
    }
    assert described["kedge_register_blobs"]["kind"] == "register"
    assert described["kedge_shutdown"]["implementers"] == []
