#!/usr/bin/env bash
# Set up everything that aiida-softclay needs on this machine. All that needs Python is in `softclay setup`.
set -euo pipefail

usage() {
    cat << 'TEXT'
Usage: ./setup_profile.sh [COMMAND] [OPTIONS] [-- PYTEST ARGUMENTS]

Commands
  (none)     virtual environment, installation, AiiDA profile, computer, codes, potentials; then run each code once
  demo       that, then a small study of 2LiCl-GaF3 with the real engines, down to a table of numbers
  test       that, then the test suite
  install    only virtual environment and installation
  remove     remove the profile with its data and daemon, and the virtual environment, if made by this script

Calling it again completes what is missing and changes nothing else. A profile that this script did not make is never
touched, and the default profile is set only where there is none. AIIDA_PATH is respected.

Options
  --profile NAME        name of the profile (softclay)
  --venv DIR            where the virtual environment is or goes (.venv beside this script)
  --no-venv             use the active Python environment
  --no-install          install nothing: everything is there (--offline is the same)
  --extras LIST         further extras to install, for example docs
  --max-jobs N          jobs that compute at once on this machine (the number of cores)
  --yes                 do not ask before removing
  --no-check            do not run each code once at the end
  --help                this text

Your own programs and machines
  --vasp COMMAND --potcars DIR   real VASP and your POTCAR files, instead of the stand-in driver and its placeholders
  --family NAME                  name for the family of your POTCAR files (softclay-vasp)
  --lmp COMMAND  --dp COMMAND    your LAMMPS (with DeePMD-kit) and your DeePMD-kit
  --analyse COMMAND              softclay-analyse there, for trajectories too large to be retrieved
  --computer LABEL               an existing AiiDA computer of the profile, for example a cluster

PostgreSQL and RabbitMQ instead of SQLite and the broker built into AiiDA
  --postgres
  --db-host H  --db-port P  --db-user U  --db-password W  --db-name D     (or SOFTCLAY_DB_PASSWORD)
  --broker-host H  --broker-port P  --broker-user U  --broker-password W  --broker-vhost V  --broker-protocol amqp|amqps

Exit statuses
  0 done                     5 profile, database or broker   9 daemon does not start
  2 wrong usage              6 computer                     10 the demo study failed
  3 no Python, no venv       7 a code does not run          11 tests failed
  4 installation failed      8 potentials                   12 refused: not made by this script, or not confirmed
TEXT
}

say() { printf '==> %s\n' "$*"; }
fail() {
    local status=$1
    shift
    printf 'Error: %s\n' "$*" >&2
    exit "$status"
}

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
here=$PWD
command='' profile=softclay venv=$root/.venv use_venv=yes install=yes yes=no extras='' check=()
configure=() pytest_arguments=()

while (($#)); do
    # --option=value is the same as --option value
    if [[ $1 == --*=* ]]; then set -- "${1%%=*}" "${1#*=}" "${@:2}"; fi
    case $1 in
        setup | demo | test | install | remove)
            [[ -z $command ]] || fail 2 "two commands, $command and $1: give one (--help lists them)"
            command=$1 ;;
        -h | --help) usage; exit 0 ;;
        --no-venv) use_venv=no ;;
        --no-install | --offline) install=no ;;
        --yes | -y) yes=yes ;;
        --no-check) check=(--no-check) ;;
        --postgres) configure+=(--postgres) ;;
        --profile | --venv | --extras | --potcars | --max-jobs | --vasp | --family | --lmp | --dp | --analyse | \
            --computer | --db-host | --db-port | --db-user | --db-password | --db-name | \
            --broker-host | --broker-port | --broker-user | --broker-password | --broker-vhost | --broker-protocol)
            (($# > 1)) || fail 2 "$1 needs a value"
            case $1 in
                --profile) profile=$2 ;;
                --venv) venv=$2 ;;
                --extras) extras=$2 ;;
                --max-jobs)
                    [[ $2 =~ ^[1-9][0-9]*$ ]] || fail 2 "--max-jobs is a positive number, not '$2'"
                    configure+=("$1" "$2") ;;
                # The commands below run in the folder of this script, so a relative path is made absolute here.
                --potcars) if [[ $2 == /* ]]; then configure+=("$1" "$2"); else configure+=("$1" "$here/$2"); fi ;;
                *) configure+=("$1" "$2") ;;
            esac
            shift ;;
        --) shift; pytest_arguments=("$@"); break ;;
        *) fail 2 "unknown command or option '$1' (--help lists them)" ;;
    esac
    shift
done
command=${command:-setup}
[[ $profile =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || fail 2 "a profile is named with letters, digits, - _ and ., not '$profile'"
[[ $venv == /* ]] || venv=$here/$venv

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        [[ -n $candidate ]] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

made_by_us=$venv/.made-by-setup-profile

enter_environment() {
    if [[ $use_venv == no ]]; then
        python=$(find_python) || fail 3 'the active environment has no Python 3.11 or later'
        return
    fi
    python=$venv/bin/python
    [[ -x $python ]] && return
    [[ $command == remove ]] && return
    [[ $install == yes ]] || fail 3 "there is no virtual environment $venv to use: leave out --no-install, or give --venv"
    local base
    base=$(find_python) || fail 3 'no Python 3.11 or later found: apt install python3.11 python3.11-venv, or set PYTHON'
    [[ ! -e $venv ]] || fail 3 "$venv exists but is no virtual environment: move it away, or give --venv"
    say "virtual environment $venv with $base"
    if ! "$base" -m venv "$venv"; then
        rm -rf -- "$venv"
        fail 3 'the virtual environment cannot be made: apt install python3-venv'
    fi
    : > "$made_by_us"
}

install_package() {
    local wanted=$1 stamp state
    [[ -z $extras ]] || wanted=$wanted,$extras
    if [[ $install == no ]]; then
        (cd / && "$python" -c 'import aiida_softclay, aiida') 2> /dev/null \
            || fail 4 "aiida-softclay is not installed in $python: leave out --no-install"
        return
    fi
    stamp=$("$python" -c 'import sys; print(sys.prefix)')/.softclay-installed
    # One line for each extra: what was installed for the tests is there for the demo too.
    state=$(cksum < "$root/pyproject.toml")" $root"
    local extra missing=no
    for extra in ${wanted//,/ }; do
        grep -qxF -- "$extra $state" "$stamp" 2> /dev/null || missing=yes
    done
    if [[ $missing == no ]]; then
        say 'installation is up to date'
        return
    fi
    say "installing aiida-softclay[$wanted], about 4 GB: some minutes"
    (cd -- "$root" && "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$wanted]") \
        || fail 4 'pip could not install the package: its message is above'
    for extra in ${wanted//,/ }; do
        printf '%s %s\n' "$extra" "$state" >> "$stamp"
    done
}

# The first start makes AiiDA's configuration folder, which it announces with a warning that says nothing to do.
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore:Creating AiiDA configuration folder:UserWarning}"
softclay_setup() { (cd -- "$root" && "$python" -m aiida_softclay.setup "$@"); }

enter_environment
# AiiDA looks for `verdi` on the PATH, where it is not unless the user has activated the environment.
PATH="$(dirname -- "$python"):$PATH"
export PATH

if [[ $command == remove ]]; then
    answer=()
    [[ $yes == no ]] || answer=(--yes)
    if [[ -x $python ]] && (cd / && "$python" -c 'import aiida_softclay, aiida') 2> /dev/null; then
        say "removing profile $profile"
        softclay_setup remove --profile "$profile" "${answer[@]}" || exit $?
    else
        say "aiida-softclay is not installed in $python: there is no profile that could be removed with it"
    fi
    if [[ $use_venv == yes && -e $made_by_us ]]; then
        if [[ $yes == no ]]; then
            read -r -p "Remove the virtual environment $venv? [y/N]: " reply || reply=''
            [[ $reply == [yY]* ]] || fail 12 "kept $venv"
        fi
        rm -rf -- "$venv"
        say "removed $venv"
    elif [[ $use_venv == yes && -e $venv ]]; then
        say "kept $venv, which this script did not make"
    fi
    exit 0
fi

case $command in
    test) install_package engines,tests ;;
    *) install_package engines ;;
esac
[[ $command != install ]] || exit 0

say "profile $profile"
# A demo that is repeated reuses its results within a minute; the proof that the codes run is reused for an hour.
[[ $command != demo || ${#check[@]} -gt 0 ]] || check=(--trust-minutes 60)
softclay_setup configure --profile "$profile" "${configure[@]}" "${check[@]}" || exit $?

case $command in
    setup)
        say "ready: try ./setup_profile.sh demo, or $(dirname -- "$python")/softclay -p $profile check" ;;
    demo)
        softclay_setup daemon --profile "$profile" start || exit $?
        say 'demo study of 2LiCl-GaF3'
        status=0
        "$python" -m aiida_softclay.cli -p "$profile" launch study 2LiCl-GaF3 --protocol demo --wait || status=$?
        ((status != 130)) || exit 130 # interrupted at the keyboard: the study itself goes on
        ((status == 0)) || fail 10 "the demo study did not succeed: what is above says why, and softclay -p $profile check"
        ;;
    test)
        say 'tests'
        cd -- "$root"
        # Files run side by side, one a core, those of the long rooms first; four workers hold as many engines in memory
        # as a laptop bears.
        ((${#pytest_arguments[@]})) \
            || pytest_arguments=(-n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 40)
        SOFTCLAY_REQUIRE_ENGINES=1 "$python" -m pytest "${pytest_arguments[@]}" || exit 11 ;;
esac
