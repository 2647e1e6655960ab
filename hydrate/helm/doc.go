// Package helm renders Helm charts in process, as Helm 3 or as Helm 4. It is the only home of Helm's SDKs.
//
// # What it promises
//
// The objects equal those of `helm template RELEASE DIR --namespace … --kube-version … --api-versions … -f …
// --include-crds` of the Helm versions that go.mod names, with what is set as the last values file: .helmignore, subcharts as
// folders and archives, conditions, tags, aliases, import-values, value schemas, library charts below an application chart, the
// kubeVersion that a chart asks for, all as Helm does them. Tests compare with the upstream binaries. Differences, on purpose:
//
//   - Hooks that run only on delete, rollback or test are left out, unless asked for.
//   - Dependencies that charts/ does not hold are taken from where Chart.lock, or an exact version in Chart.yaml, pins them,
//     as `helm dependency build` would do first: see below.
//   - A subchart in charts/ that has the name of a declared dependency and is outside of its range is an error. Helm takes
//     it, and then ignores condition and alias.
//   - A JSON schema over http(s) is not fetched: what refers to it is not checked, and a warning says so. Schemas in files
//     outside the chart are refused.
//   - What crds/ folders define twice, word for word, is rendered once, as Helm would install it.
//   - Where charts/ holds one subchart twice, Helm picks one at random; here it is always the same one.
//   - What Helm leaves to chance, clock or host is fixed: see below.
//
// Rendering is hermetic: no cluster (`lookup` finds nothing, and a warning says so), no DNS, no network, no environment.
//
// # Dependencies that are not vendored
//
// Chart.lock (requirements.lock of charts of apiVersion v1) says which versions are meant; without it, Chart.yaml does where it
// names exact versions. The digest of Chart.lock must be that over the dependencies of Chart.yaml and its own, as Helm computes
// it. What lies in oci:// and https:// repositories is asked of [Archives], since this package reaches no network; file://
// dependencies are read from the tree that the chart lies in, need no lock, and cannot lie outside of it. Repositories that are named by an alias of the host's configuration are
// refused. Each archive is an input, by name, version, repository and SHA-256: a lock fixes none of its bytes, and where
// the repository has others the next day, they are other inputs.
//
// Subcharts of subcharts are taken as they were packed, as Helm does; a warning names those missing or out of range.
//
// # Execution of templates
//
// Charts are loaded by Helm 3's packages, since Helm 4 reads the same files in the same way, but for values of several
// documents. Which subcharts are enabled is decided, and values are merged, by the packages of the Helm that is asked for.
// Templates are executed by package engine, which parses each file once a package. Its functions are Helm's, but for those that
// look at clock, chance or host: they make the output a function of package and request.
//
// # What it refuses
//
// Library charts by themselves; dependencies that neither charts/, a lock file in sync nor an exact version accounts for; a request without a
// Kubernetes version, since the library's default is years old.
//
// # Limits
//
// Helm's libraries write some warnings (values that cannot be merged, unknown dependency conditions) with package log's
// standard logger, which a program must redirect to silence them.
package helm
