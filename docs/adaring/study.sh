#!/bin/sh
# The study behind docs/adaring.md: under 40 minutes on two cores. Said again, it goes on where it
# stopped. Everything is chosen on validation images; fresh seeds test each winner once.
set -e
PATH=$PWD/.venv/bin:$PATH
RINGBENCH_HOME=${RINGBENCH_HOME:-runs/study-adaring}
export RINGBENCH_HOME
DATA=emoji-things,flags
OUT=docs/adaring
WORKERS="--workers 2 --quiet"

# 1. Which ring rank and slice size: one map a data set.
for data in emoji-things flags; do
    ringbench sweep ring_rank data=$data seeds=1 --sampler grid --pruner none --name map-$data $WORKERS
    ringbench report --sweep map-$data --out $OUT/map-$data
done

# 2. Which rate for which ring rank, slices of 8.
ringbench sweep ring_rate data=$DATA seeds=1 --sampler grid --pruner none --name rates $WORKERS
ringbench report --sweep rates --out $OUT/rates

# 3. Ablation: readings, diverse ranks, consistency; each at the best of the same five rates.
ringbench sweep rate --name ablation --budget 5 --sampler grid --pruner none \
    data=$DATA seeds=1 --fresh 3 $WORKERS \
    --entrant "adaring"
ringbench report --sweep ablation --out $OUT/ablation

# 4. Equal budgets, every method in its own space.
ringbench sweep --methods adaring,lora,clip_adapter,full_rank --budget 12 \
    data=$DATA seeds=1 --fresh 3 --name fair $WORKERS
ringbench report --sweep fair --out $OUT/fair
