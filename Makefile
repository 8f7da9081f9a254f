# make demo   a real comparison on the embedded suite        make test    the whole test suite
# make install the environment alone                         make check   lint, types, fast tests
# make study-adaring  the study of docs/adaring.md: maps of ranks, ablation, equal budgets
# make rates-related  the learning rates of the systems around AdaRing, on validation data
# make bench   speed against peers: docs/speed.md         make bench-scaling  and how it grows
# make rates   the best learning rate for each ring rank and slice size, on validation data

PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
METHODS := adaring,lora,clip_adapter,full_rank,linear_probe,zero_shot
DEMO := base_to_novel methods=$(METHODS) data=digits,fashion-mnist,flags seeds=1-3

# the study of docs/adaring.md, in a ledger of its own; under 40 minutes on two cores
STUDY := env RINGBENCH_HOME=$${RINGBENCH_HOME:-runs}/study-adaring $(BIN)/ringbench
TWO := [[1,10],[2,4]]
CANDIDATES := adaring|adaring ranks=$(TWO)
CANDIDATES := $(CANDIDATES)|adaring consistency_image=1 consistency_text=1|adaring consistency_logits=0.3
CANDIDATES := $(CANDIDATES)|adaring ranks=$(TWO) consistency_image=1 consistency_on=low_rank
CANDIDATES := $(CANDIDATES)|adaring form=adapter|adaring form=adapter reading=one_ring
CANDIDATES := $(CANDIDATES)|adaring form=adapter reading=factored|adaring form=adapter reading=parallel
RATES := ring_learning_rate data=flags --sampler grid --pruner none

RELATED := adapterbias,arc,mosa,adamix,coto,adaptable_adapters,sfa,mera,vtagml

.PHONY: install demo rates rates-related study-adaring study-map study-ablation study-budget
.PHONY: bench bench-scaling gpu-check test check lint generated clean

install: .venv/.installed

.venv/.created:
	@test -n "$(PYTHON)" || { echo "RingBench needs Python 3.11 or 3.12; say make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.created pyproject.toml constraints.txt
	@echo "installing (a few minutes the first time: PyTorch is large)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.tested: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.installed
	$(BIN)/ringbench suite $(DEMO) --workers 2
	$(BIN)/ringbench leaderboard --protocol base_to_novel --backbone embedded
	$(BIN)/ringbench pareto --protocol base_to_novel --backbone embedded
	@echo "the runs in a browser: $(BIN)/ringbench view"

rates: .venv/.installed
	$(BIN)/ringbench sweep $(RATES) --workers 2 --name ring-rates
	$(BIN)/ringbench report --sweep ring-rates --map ring_rank,train.lr

# six rates each, the test split stays shut; the last lines go into harness/spec/presets/tuned.toml
rates-related: .venv/.installed
	$(BIN)/ringbench sweep learning_rate_grid --methods $(RELATED) --budget 6 --sampler grid --pruner none \
	  --fresh 0 data=digits,fashion-mnist,flags --workers 2 --name rates-related

study-adaring: study-map study-ablation study-budget

study-map: .venv/.installed
	for data in flags icon-concepts; do \
	  $(STUDY) sweep ring_rank data=$$data --sampler grid --pruner none --workers 2 --name map-$$data \
	  && $(STUDY) report --sweep map-$$data || exit; done

study-ablation: .venv/.installed
	echo '$(CANDIDATES)' | tr '|' '\n' | sed "s/.*/--candidate '&'/" | xargs $(STUDY) sweep learning_rate --budget 5 \
	  --sampler grid --pruner none data=flags,fashion-mnist --workers 2 --name ablation
	$(STUDY) report --sweep ablation

study-budget: .venv/.installed
	$(STUDY) sweep --methods adaring,lora,clip_adapter,full_rank --budget 8 \
	  data=flags,fashion-mnist,icon-concepts --workers 2 --name budget
	$(STUDY) report --sweep budget

# on a machine that does nothing else: about 20 and 5 minutes on two cores
bench: .venv/.tested
	OMP_WAIT_POLICY=passive $(BIN)/python -m tests.benchmarks --page

bench-scaling: .venv/.tested
	OMP_WAIT_POLICY=passive $(BIN)/python -m tests.benchmarks --scaling --page

# on a CUDA machine: tests there, then reports/measured/<device>.json; without one nothing is written
gpu-check: .venv/.tested
	$(BIN)/python -m tests.benchmarks.gpu

# idle threads that spin take the cores from the other process: twice as slow; processes that tests
# start import what the command imports (harness/model/open_clip_library.py)
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive RINGBENCH_COMMAND=1 $(BIN)/pytest -n 2 --dist worksteal
FAST := tests/test_house.py tests/harness/spec tests/methods/kit tests/methods/test_lora.py \
  $(addprefix tests/harness/data/test_,few_shot.py split.py subset_files.py check.py augment.py) \
  $(addprefix tests/harness/run/test_,config.py catalogue.py grouping.py) tests/harness/cli/test_reference.py \
  $(addprefix tests/harness/model/test_,tower.py backbone.py prompt_packing.py) tests/reports/tables

lint: .venv/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

check: lint
	$(PYTEST) $(FAST)

test: lint
	$(PYTEST)

# after a change to a method, the kit or the commands
generated: .venv/.installed
	$(BIN)/python -m harness.run.catalogue
	$(BIN)/python -m harness.cli.reference > docs/commands.md

clean:
	rm -rf .venv runs
