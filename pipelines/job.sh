# shellcheck shell=bash
# What the batch jobs share. A job starts in the folder it was submitted from, the root
# of the project, and reads this there: source pipelines/job.sh

# One task of an array by both its numbers: the array's alone would mean every fold.
job=${SLURM_JOB_ID}
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then
    job=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}
fi

# begin CONFIG: says at once that the job runs, and gives it its environment.
begin() {
    echo "$(date -u +%FT%TZ) job $job on $(uname -n): $1"
    # module load python/3.12           # where the cluster asks for it; no CUDA module
    # module load apptainer             # for a container, which needs no activation
    # shellcheck source=/dev/null
    source "${ARCTICDL_VENV:-.venv}/bin/activate"
    # JAX compiles a step for minutes on a GPU; a job that goes on finds it here.
    export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-${HOME:-.}/.cache/jax}
}

# How Python is started; in a container, uncomment the second line.
# shellcheck disable=SC2034  # the jobs use it
python=(python)
# python=(apptainer exec --nv arcticdl.sif python)

# finish STATUS: queues the job again if it was preempted, and ends it.
finish() {
    if [ "$1" -eq 75 ]; then
        scontrol requeue "$job"
    fi
    exit "$1"
}
