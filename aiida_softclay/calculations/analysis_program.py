"""Jobs of ``softclay-analyse``: a file says what is to be done, another what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.orm import AbstractCode

JOB_FILE, RESULT_FILE = 'analysis.json', 'result.json'
OUTPUT_FILE = 'analysis.out'


def define_program(spec: Any, parser: str) -> None:
    """Declare the options of a job of the program, with the name of its parser, and how it may end without a result."""
    options = spec.inputs['metadata']['options']
    options['parser_name'].default = parser
    options['resources'].default = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
    options['max_wallclock_seconds'].default = 3600
    options['withmpi'].default = False
    spec.exit_code(302, 'ERROR_NO_RESULT', message='the program stopped without a result: {reason}')
    spec.exit_code(303, 'ERROR_BROKEN_RESULT', message='the result cannot be read: {reason}')


def program_job(folder: Folder, code: AbstractCode, job: Mapping[str, Any]) -> datastructures.CalcInfo:
    """Write what the program is to do into the folder of a job, and return how it is started and what is retrieved."""
    with folder.open(JOB_FILE, 'w', encoding='utf-8') as handle:
        json.dump(job, handle)
    code_info = datastructures.CodeInfo()
    code_info.code_uuid = code.uuid
    code_info.cmdline_params = [JOB_FILE]
    code_info.stdout_name = OUTPUT_FILE
    code_info.join_files = True
    calc_info = datastructures.CalcInfo()
    calc_info.codes_info = [code_info]
    calc_info.retrieve_list = [OUTPUT_FILE, RESULT_FILE]
    return calc_info
