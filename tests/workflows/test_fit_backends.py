"""Fit a potential with another backend of the real dp: the same workchain, its checkpoints, and the model it makes."""

from __future__ import annotations

import os

import pytest
from fit_samples import TINY_MODEL, dp_code_in, frames_of

from aiida_softclay.workflows.fit_potential import FitPotentialWorkChain

STEPS = 60
TINY = {
    'backend': 'pytorch',
    'compression': {'n_frames': 3},
    'deepmd': {
        'model': TINY_MODEL,
        'training': {'numb_steps': STEPS, 'disp_freq': 10, 'save_freq': 20},
    },
    'gate': {'rmse_energy_meV_atom': 5000, 'rmse_force_meV_A': 5000},
}

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings('ignore')]


def test_pytorch_training_killed_once(aiida_profile_clean, dp_program, tmp_path):
    """DeePMD-kit needs the PyTorch it was built with: name a dp that has it in SOFTCLAY_TEST_DP_PYTORCH."""
    from aiida.engine import run_get_node

    mark = tmp_path / 'mark'
    killer = (
        f'[ -e {mark} ] || ( while kill -0 $$; do sleep 0.02; if grep -qs model.ckpt-20 checkpoint; '
        f'then touch {mark}; pkill -KILL -P $$ dp; break; fi; done ) > /dev/null 2>&1 &'
    )
    code = dp_code_in(tmp_path, os.environ.get('SOFTCLAY_TEST_DP_PYTORCH', dp_program))
    frames = {'rattled': frames_of('rattled', 20, 'hold').store()}
    options = {'prepend_text': killer, 'max_wallclock_seconds': 600}
    builder = FitPotentialWorkChain.get_builder_from_protocol(
        code, frames, protocol='demo', overrides=TINY, options=options
    )
    node = run_get_node(builder).node
    if 'incompatible' in (node.exit_message or '') and 'PyTorch' in node.exit_message:
        pytest.skip('this dp was built for another PyTorch than the one installed')
    assert node.is_finished_ok, node.exit_message
    jobs = sorted((job for job in node.called if job.process_label == 'DpTrainCalculation'), key=lambda job: job.pk)
    assert [job.exit_status for job in jobs] == [400, 0]
    assert node.outputs.learning_curve.get_array('step').tolist() == [1, *range(10, STEPS + 1, 10)]
    potential = node.outputs.potential
    assert potential.model_backend == 'pytorch'
    assert potential.filename == 'model_compressed.pth'
