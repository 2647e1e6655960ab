# A fresh machine needs Go, git, make and gcc (gcc for the race detector only). Everything else is built from the
# module proxy at pinned versions by internal/e2e/tools.sh.
#
# One set of build flags for build, test, vet and lint: each other set would compile helm and cosign once more.

SHELL := /bin/sh
.DEFAULT_GOAL := build

export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false
export GOTOOLCHAIN := local

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BIN := bin/lockage
JUDGES := actionlint cosign cosign3 crane fulcio gitea helm helm4 kustomize registry rekor-server timestamp-server vault-server
READERS := admission-reader argocd-reader flux-reader kubectl-reader slsa-verifier
FUZZTIME ?= 10s
BENCH ?= .
# No test measures time: this bounds a test that never ends, on a slow or busy machine too.
TIMEOUT ?= 60m

# `make race` tests all under the race detector, which makes tests take many times as long; `make test` all but the command and what
# only drives it, the packages that start no goroutine, whose shared values are raced where others use them at once, and those that
# compute for long, whose tests named «AtOnce» are raced.
SEQUENTIAL = hydrate hydrate/diff hydrate/helm/engine hydrate/lock hydrate/pipeline hydrate/schema \
	internal/architecture internal/bounded internal/cachefile internal/loopback internal/memfs internal/redact internal/retry \
	internal/strictyaml internal/terminal policy policy/cel policy/policytest policy/rego
COMPUTING = hydrate/helm hydrate/helm/chartrepo hydrate/kustomize sign
PLAIN = cmd/lockage internal/demo internal/model $(COMPUTING) $(SEQUENTIAL)
RACED = $(filter-out $(addprefix %/lockage/,internal/e2e $(PLAIN)),$(shell go list ./...))
# A program with a race detector waits for a second at its end, unless that is set.
RACE = CGO_ENABLED=1 GORACE=atexit_sleep_ms=10 go test -race -timeout $(TIMEOUT)

.PHONY: build
build: ## build bin/lockage (the default)
	go build -ldflags '-s -X main.release=$(VERSION)' -o $(BIN) ./cmd/lockage

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "%-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: quick
quick: ## vet, build and the fast tests, in less than two minutes with warm caches
	go vet ./...
	go build ./...
	go test -short -timeout $(TIMEOUT) ./...

.PHONY: test
test: ## vet, build without cgo, and test; packages that do several things at once under the race detector
	go vet ./...
	go build ./...
	$(RACE) -vet=off $(RACED)
	$(RACE) -vet=off -run AtOnce $(addprefix ./,$(COMPUTING))
	go test -vet=off -timeout $(TIMEOUT) $(addprefix ./,$(PLAIN))

.PHONY: race
race: ## every test under the race detector, the command's scripts too
	$(RACE) ./...

E2E = PATH="$$tools:$$PATH" LOCKAGE_E2E=1 LOCKAGE_BIN=$(CURDIR)/$(BIN)
# The tests of renderers that upstream judges.
JUDGED = $(shell sed -nE 's/^func (Test[A-Za-z]*).*/\1/p' hydrate/*/*upstream_test.go | paste -s -d '|' -)

.PHONY: e2e
e2e: build ## end-to-end tests, judged by upstream's own cosign, crane, helm, kustomize, registry and Chromium
	internal/e2e/browser.sh >/dev/null
	tools=$$(internal/e2e/tools.sh $(JUDGES) $(READERS)) && \
	$(E2E) go test -count=1 -timeout $(TIMEOUT) ./internal/e2e && \
	LOCKAGE_E2E=1 LOCKAGE_HELM="$$tools/helm" LOCKAGE_HELM4="$$tools/helm4" LOCKAGE_KUSTOMIZE="$$tools/kustomize" \
		go test -count=1 -timeout $(TIMEOUT) -run '^($(JUDGED))$$' ./hydrate/helm ./hydrate/kustomize
	internal/e2e/token.sh

CLUSTER := argocd-reader cosign cosign3 crane etcd helm kube-apiserver kubectl kustomize-controller kyverno registry slsa-verifier source-controller
.PHONY: cluster
cluster: build ## what readers make of artifacts in a cluster: an API server with Flux's controllers, and Kyverno's engine, which take most of an hour to build on two cores
	tools=$$(internal/e2e/tools.sh $(CLUSTER)) && $(E2E) LOCKAGE_CLUSTER=1 go test -count=1 -timeout $(TIMEOUT) -run '^TestCluster$$' ./internal/e2e

.PHONY: soak
soak: build ## what takes hours: crashes at each write, ten thousand random histories, each check taken out, mutated plans, long fuzzing
	go mod verify
	LOCKAGE_SOAK=1 go test -count=1 -timeout 12h -run TestFaults ./promote
	tools=$$(internal/e2e/tools.sh $(JUDGES)) && $(E2E) LOCKAGE_SOAK=1 go test -count=1 -timeout 12h -run 'TestKilled|TestTeamsDay|TestPullRequests/^forge-fails$$' ./internal/e2e
	go test -count=1 -timeout 12h -run TestHistories ./internal/model -args -histories 10000 -moves 20
	go test -count=1 -timeout 12h -run TestQuirks ./internal/model -args -quirky 1000
	go test -count=1 -timeout 12h -v -run TestGrowth ./internal/model -args -releases 10000 -width 50
	go test -count=1 -timeout 12h -v -run TestGrowth ./internal/model -args -releases 3000 -depth 1
	LOCKAGE_SOAK=1 go test -count=1 -timeout 24h -run TestMutations ./internal/model -args -histories 1000
	go test -count=1 -timeout 12h -run TestExactlyWhoUsesItChanges ./hydrate/plan -args -steps=3000
	$(MAKE) fuzz FUZZTIME=5m

.PHONY: charts
charts: ## compare real charts in CHARTS=DIR, and kustomizations in KUSTOMIZATIONS=DIR, with upstream's helm and kustomize
	tools=$$(internal/e2e/tools.sh helm helm4 kustomize) && \
	LOCKAGE_HELM="$$tools/helm" LOCKAGE_HELM4="$$tools/helm4" LOCKAGE_KUSTOMIZE="$$tools/kustomize" LOCKAGE_CHARTS="$(CHARTS)" LOCKAGE_KUSTOMIZATIONS="$(KUSTOMIZATIONS)" \
		go test -count=1 -timeout 12h -run 'TestReal' ./hydrate/helm ./hydrate/kustomize

.PHONY: fleet
fleet: build ## measure thirty stages of the chart in CHART=DIR (with VALUES=FILE) against thirty runs of helm template
	tools=$$(internal/e2e/tools.sh helm) && LOCKAGE_HELM="$$tools/helm" LOCKAGE_BIN=$(CURDIR)/$(BIN) LOCKAGE_CHART=$(CHART) LOCKAGE_VALUES=$(VALUES) \
		go test -count=1 -timeout $(TIMEOUT) -v -run TestFleet ./internal/e2e

COMPARE ?= -stages 3,30
.PHONY: bench-compare
bench-compare: build ## measure a release beside a shell pipeline of upstream's programs, also with the chart in CHART=DIR; COMPARE='-stages 300 -runs 3 -source 1024'
	tools=$$(internal/e2e/tools.sh $(JUDGES) conftest oras) && $(E2E) LOCKAGE_COMPARE=1 LOCKAGE_CHART=$(CHART) LOCKAGE_VALUES=$(VALUES) LOCKAGE_SECRETS=$(SECRETS) \
		go test -count=1 -timeout 12h -v -run TestCompare ./internal/e2e -args $(COMPARE)

# The linter's cache holds the paths of the checkout that filled it, and looks for exclusions there: one for each path of a checkout.
.PHONY: lint
lint: ## gofmt, module files, golangci-lint with go vet
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		if [ -n "$$out" ]; then echo "not formatted, run gofmt -w:"; echo "$$out"; exit 1; fi
	go mod tidy -diff
	tools=$$(internal/e2e/tools.sh golangci-lint) && GOLANGCI_LINT_CACHE="$${tools%/bin}/lint$(CURDIR)" "$$tools/golangci-lint" run ./...

.PHONY: demo
demo: build ## build, then run the whole flow on a local registry and local repositories
	$(BIN) demo

.PHONY: bench
bench: ## benchmarks (BENCH=regexp chooses)
	go test -p 1 -run '^$$' -bench '$(BENCH)' $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

.PHONY: release-check
release-check: ## check .goreleaser.yaml, and build the release of this commit twice: half an hour on two cores
	tools=$$(internal/e2e/tools.sh goreleaser cyclonedx-gomod) && PATH="$$tools:$$PATH" packaging/check.sh

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(go test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
			echo "fuzz $$dir $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
		done; \
	done

.PHONY: pictures
pictures: build ## the pictures of the documentation, as Chromium shows them; look at them before you commit
	tools=$$(internal/e2e/tools.sh $(JUDGES)) && PATH="$$tools:$$PATH" docs/pictures/make.sh "$$PWD/bin/lockage" docs/pictures && \
	$(E2E) LOCKAGE_SCREENSHOT=$(CURDIR)/docs/pictures/a.png go test -count=1 -run '^TestPullRequestPage$$' ./internal/e2e && \
	mv docs/pictures/a-pull-request.png docs/pictures/pull-request.png

.PHONY: docs
docs: ## regenerate docs that are made from code
	go test ./policy ./cmd/lockage -run 'Schema|Docs' -update

.PHONY: clean
clean: ## remove what make built
	rm -rf bin dist dist-extras
