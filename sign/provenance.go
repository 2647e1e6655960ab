package sign

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// BuildTypeHydrate says which parameters a provenance has: those of [Provenance].
	BuildTypeHydrate = "https://lockage.dev/hydrate/v1"
	// BuilderID names lockage as the builder; who ran it is told by the key that signed.
	BuilderID = "https://lockage.dev/hydrator/v1"
)

// Provenance is how a stage's artifact was made: SLSA provenance v1 of build type [BuildTypeHydrate].
type Provenance struct {
	Claim                         // what was asked for
	Lock       ResourceDescriptor // the lock file that was hydrated, by its digest
	Allowances []string           // rules that the pipeline file waived and the render made use of, such as allowSecrets: db

	// Everything that was read: source commit, GitOps commit, images, chart dependencies.
	Dependencies []ResourceDescriptor
	// What came out beside the artifact.
	Byproducts []ResourceDescriptor

	Version  string    // of lockage; empty: left out
	Started  time.Time // zero: left out
	Finished time.Time // zero: left out
}

// ResourceDescriptor names something that can be fetched again: in-toto's type of that name, as far as it is used here.
type ResourceDescriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"` // algorithm to lower-case hex
	Annotations map[string]string `json:"annotations,omitempty"`
}

// GitCommit describes a commit of a remote repository. User, password and query of the URL are left out.
func GitCommit(name, remote, commit string) ResourceDescriptor {
	return ResourceDescriptor{Name: name, URI: gitURI(remote), Digest: map[string]string{"gitCommit": commit}}
}

// Image describes an image by repository and digest.
func Image(name, repository string, d digest.Digest) ResourceDescriptor {
	return ResourceDescriptor{
		Name: name, URI: "oci://" + repository, Digest: map[string]string{d.Algorithm().String(): d.Encoded()},
	}
}

// Dependency looks a dependency up by name.
func (p Provenance) Dependency(name string) (ResourceDescriptor, bool) {
	for _, d := range p.Dependencies {
		if d.Name == name {
			return d, true
		}
	}
	return ResourceDescriptor{}, false
}

// Provenance on the wire: https://slsa.dev/spec/v1.0/provenance
type (
	wireProvenance struct {
		BuildDefinition wireBuildDefinition `json:"buildDefinition"`
		RunDetails      wireRunDetails      `json:"runDetails"`
	}
	wireBuildDefinition struct {
		BuildType            string               `json:"buildType"`
		ExternalParameters   wireExternal         `json:"externalParameters"`
		InternalParameters   *wireInternal        `json:"internalParameters,omitempty"`
		ResolvedDependencies []ResourceDescriptor `json:"resolvedDependencies,omitempty"`
	}
	wireExternal struct {
		Claim
		Lock ResourceDescriptor `json:"lock"`
	}
	wireInternal struct {
		Allowances []string `json:"allowances,omitempty"`
	}
	wireRunDetails struct {
		Builder    wireBuilder          `json:"builder"`
		Metadata   *wireMetadata        `json:"metadata,omitempty"`
		Byproducts []ResourceDescriptor `json:"byproducts,omitempty"`
	}
	wireBuilder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version,omitempty"`
	}
	wireMetadata struct {
		StartedOn  time.Time `json:"startedOn,omitzero"`
		FinishedOn time.Time `json:"finishedOn,omitzero"`
	}
)

// NewProvenance is the statement that p is how the artifact was made.
func NewProvenance(artifact digest.Digest, p Provenance) (Statement, error) {
	w := wireProvenance{
		BuildDefinition: wireBuildDefinition{
			BuildType:            BuildTypeHydrate,
			ExternalParameters:   wireExternal{Claim: p.Claim, Lock: p.Lock},
			ResolvedDependencies: p.Dependencies,
		},
		RunDetails: wireRunDetails{Builder: wireBuilder{ID: BuilderID}, Byproducts: p.Byproducts},
	}
	if len(p.Allowances) > 0 {
		w.BuildDefinition.InternalParameters = &wireInternal{Allowances: p.Allowances}
	}
	if p.Version != "" {
		w.RunDetails.Builder.Version = map[string]string{"lockage": p.Version}
	}
	if !p.Started.IsZero() || !p.Finished.IsZero() {
		w.RunDetails.Metadata = &wireMetadata{StartedOn: rfc3339(p.Started), FinishedOn: rfc3339(p.Finished)}
	}
	predicate, err := json.Marshal(w)
	if err != nil {
		return Statement{}, fmt.Errorf("provenance of %s: %w", artifact, err)
	}
	return Statement{
		Subject:       Subject{Name: p.Repository, Digest: artifact},
		PredicateType: PredicateProvenance,
		Predicate:     predicate,
	}, nil
}

// parseProvenance reads the predicate of a [PredicateProvenance] statement. It ignores members that it does not know, as
// the specification asks.
func parseProvenance(predicate json.RawMessage) (Provenance, error) {
	var w wireProvenance
	if err := json.Unmarshal(predicate, &w); err != nil {
		return Provenance{}, fmt.Errorf("not SLSA provenance: %w", err)
	}
	if got := w.BuildDefinition.BuildType; got != BuildTypeHydrate {
		return Provenance{}, fmt.Errorf("provenance of build type %.100q, not %s", got, BuildTypeHydrate)
	}
	if got := w.RunDetails.Builder.ID; got != BuilderID {
		return Provenance{}, fmt.Errorf("provenance of builder %.100q, not %s", got, BuilderID)
	}
	p := Provenance{
		Claim:        w.BuildDefinition.ExternalParameters.Claim,
		Lock:         w.BuildDefinition.ExternalParameters.Lock,
		Dependencies: w.BuildDefinition.ResolvedDependencies,
		Byproducts:   w.RunDetails.Byproducts,
		Version:      w.RunDetails.Builder.Version["lockage"],
	}
	if w.BuildDefinition.InternalParameters != nil {
		p.Allowances = w.BuildDefinition.InternalParameters.Allowances
	}
	if w.RunDetails.Metadata != nil {
		p.Started, p.Finished = w.RunDetails.Metadata.StartedOn, w.RunDetails.Metadata.FinishedOn
	}
	if p.Claim == (Claim{}) {
		return Provenance{}, errors.New("provenance has no external parameters")
	}
	return p, nil
}

// rfc3339 brings a time to what the specification's Timestamp is: UTC, whole seconds.
func rfc3339(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// gitURI writes a git remote in SPDX form (git+https://host/path), without anything that could be a secret.
func gitURI(remote string) string {
	if !strings.Contains(remote, "://") {
		host, path, scp := strings.Cut(remote, ":")
		if !scp || strings.ContainsAny(host, `/\`) || len(host) == 1 { // a folder, perhaps C:\…
			return "git+" + (&url.URL{Scheme: "file", Path: filepath.ToSlash(remote)}).String()
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
		return "git+ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(remote)
	if err != nil {
		return "" // what cannot be taken apart cannot be cleaned of secrets
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return "git+" + strings.TrimPrefix(u.String(), "git+")
}
