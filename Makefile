# The contributor's gate. `.ci/run` is the same from a clean clone in a fresh environment.
# `make inner` is for while you work: it leaves out what is marked `gate`.
.PHONY: gate inner format lint types tests docs notebooks regenerate site

export OMP_NUM_THREADS = 1
export MPLBACKEND = Agg
export NO_MKDOCS_2_WARNING = 1

gate: format lint types tests docs notebooks

inner:
	python -m pytest -n 2 -m "not gate"

format:
	ruff format .

lint:
	ruff check .

types:
	mypy

tests:
	python -m pytest -n 2 --ignore tests/docs --ignore tests/tutorials

# Builds the pages strictly and runs their snippets.
docs:
	python -m pytest -n 2 tests/docs

# Compares scripts and notebooks, and runs the scripts shortened.
notebooks:
	python -m pytest -n 2 tests/tutorials

# Writes all notebooks anew, at full length: look at every picture afterwards. The kernel chooses matplotlib's backend.
regenerate:
	cd tutorials && env -u MPLBACKEND jupytext --to ipynb --execute *.py
	sed -i 's#MONAI __file__: [^"]*/site-packages/#MONAI __file__: site-packages/#' tutorials/*.ipynb

# The pages, to look at: site/index.html.
site:
	mkdocs build --strict
