import pytest
from tests.cli.custody_scenes import GOOD, BAD
from tests.cli.conftest import User
from tests.cli.stage import Stage
@pytest.fixture
def stage(user, root, token_with, transit_mount): return Stage(user, root, token_with, transit_mount)
@pytest.mark.parametrize("name", GOOD|BAD)
def test_x(stage, name):
    import time
    s=(GOOD|BAD)[name]; t=time.time(); done=s.play(stage)
    with open("/tmp/scenes.txt","a") as f: f.write(f"=== {name} [{s.code}] {done.code} {'' if s.code==done.code else '<<<<<'} {time.time()-t:.2f}s: {' '.join(s.words)}\n{done.out}{done.err}")
