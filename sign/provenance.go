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

	"github.com/lockage/lockage/internal/strictjson"
)

const (
	// BuildTypeHydrate names the parameters that a provenance has: those of [Provenance].
	BuildTypeHydrate = "https://lockage.dev/hydrate/v1"
	// BuilderID names lockage as the builder; the key that signed identifies who ran it.
	BuilderID = "https://lockage.dev/hydrator/v1"

	algorithmGit = "gitCommit" // https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md

	// annotationCommitted is that of a dependency which is a commit: its committer's time.
	annotationCommitted = "committed"
)

// Provenance describes how a stage's artifact was made: SLSA provenance v1 of build type [BuildTypeHydrate].
type Provenance struct {
	Claim                         // what was asked for
	File       string             // the pipeline file, in the GitOps repository
	Lock       ResourceDescriptor // the lock file that was hydrated, by its digest
	Meaning    digest.Digest      // of what the lock says of the release: a file that was written again, with another time, is the same lock
	Options    json.RawMessage    // of the render, by name, as they took effect
	Values     []FileRead         // the values files, in their order
	Reads      []FileRead         // what else the render looked for in the GitOps repository
	Allowances []string           // rules that the pipeline file waived and the render used, such as allowSecrets: db

	Dependencies []ResourceDescriptor // what was read: source commit, GitOps commit, images, chart dependencies
	Byproducts   []ResourceDescriptor // what was made besides the artifact

	// What is zero is left out.
	Version           string // of lockage
	Renderer, Packer  string // with their versions
	Started, Finished time.Time
}

// FileRead is a file that was looked for in a repository, at the commit that was read.
type FileRead struct {
	Name   string `json:"name"`
	Source bool   `json:"source,omitempty"` // whether it is below the lock's sourcePath in the source repository
	Path   string `json:"path,omitempty"`   // that the name led to; "" for the name itself
	Folder bool   `json:"folder,omitempty"`
	ID     string `json:"id,omitempty"` // Git's, of a file, or of a folder that was listed
}

// ResourceDescriptor names something that can be fetched again: the part of in-toto's type of that name that is used here.
type ResourceDescriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"` // algorithm to lower-case hex
	Annotations map[string]string `json:"annotations,omitempty"`
}

// GitCommit describes a commit of a remote repository. User, password and query of the URL are left out.
func GitCommit(name, remote, commit string) ResourceDescriptor {
	return ResourceDescriptor{Name: name, URI: gitURI(remote), Digest: map[string]string{algorithmGit: commit}}
}

// Source describes what a release was made from: a commit of a remote repository, or a packaged chart by its URL and the digest of its
// archive, sha256:<64 hex>.
func Source(name, where, revision string) ResourceDescriptor {
	if d := digest.Digest(revision); d.Validate() == nil {
		return ResourceDescriptor{Name: name, URI: plainURL(where), Digest: DigestSet(d)}
	}
	return GitCommit(name, where, revision)
}

// CommittedAt returns the description of a commit with its committer's time.
func (d ResourceDescriptor) CommittedAt(t time.Time) ResourceDescriptor {
	d.Annotations = map[string]string{annotationCommitted: rfc3339(t).Format(time.RFC3339)}
	return d
}

// Image describes an image by repository and digest.
func Image(name, repository string, d digest.Digest) ResourceDescriptor {
	return ResourceDescriptor{Name: name, URI: "oci://" + repository, Digest: DigestSet(d)}
}

// Commit returns the Git commit of the dependency of a name; "" for none.
func (p Provenance) Commit(name string) string { return p.Dependency(name).Digest[algorithmGit] }

// Revision returns the Git commit, or as sha256:<64 hex> the packaged chart, that is the dependency of a name; "" for none.
func (p Provenance) Revision(name string) string {
	d := p.Dependency(name).Digest
	if commit := d[algorithmGit]; commit != "" || d[digest.SHA256.String()] == "" {
		return commit
	}
	return digest.NewDigestFromEncoded(digest.SHA256, d[digest.SHA256.String()]).String()
}

// Committed returns the committer's time of the Git commit of the dependency of a name; false if it is not stated.
func (p Provenance) Committed(name string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, p.Dependency(name).Annotations[annotationCommitted])
	return t, err == nil
}

// Dependency returns the first dependency of a name; the zero one for none.
func (p Provenance) Dependency(name string) ResourceDescriptor {
	for _, d := range p.Dependencies {
		if d.Name == name {
			return d
		}
	}
	return ResourceDescriptor{}
}

// wireProvenance is provenance on the wire: https://slsa.dev/spec/v1.0/provenance
type wireProvenance struct {
	BuildDefinition struct {
		BuildType          string `json:"buildType"`
		ExternalParameters struct {
			Claim
			File    string             `json:"file,omitempty"`
			Lock    ResourceDescriptor `json:"lock"`
			Meaning digest.Digest      `json:"lockMeaning,omitempty"`
		} `json:"externalParameters"`
		InternalParameters   wireInternal         `json:"internalParameters,omitzero"`
		ResolvedDependencies []ResourceDescriptor `json:"resolvedDependencies,omitempty"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version,omitempty"`
		} `json:"builder"`
		Metadata struct {
			StartedOn  time.Time `json:"startedOn,omitzero"`
			FinishedOn time.Time `json:"finishedOn,omitzero"`
		} `json:"metadata,omitzero"`
		Byproducts []ResourceDescriptor `json:"byproducts,omitempty"`
	} `json:"runDetails"`
}

type wireInternal struct {
	Options    json.RawMessage `json:"options,omitempty"`
	Values     []FileRead      `json:"values,omitempty"`
	Reads      []FileRead      `json:"reads,omitempty"`
	Allowances []string        `json:"allowances,omitempty"`
}

// IsZero reports whether nothing is set.
func (w wireInternal) IsZero() bool {
	return len(w.Options)+len(w.Values)+len(w.Reads)+len(w.Allowances) == 0
}

// What a provenance names the versions of.
const (
	componentLockage  = "lockage"
	componentRenderer = "renderer"
	componentPacker   = "packer"
)

// NewProvenance returns the statement that p is how the artifact was made.
func NewProvenance(artifact digest.Digest, p Provenance) (Statement, error) {
	var w wireProvenance
	build, run := &w.BuildDefinition, &w.RunDetails
	build.BuildType = BuildTypeHydrate
	external := &build.ExternalParameters
	external.Claim, external.File, external.Lock, external.Meaning = p.Claim, p.File, p.Lock, p.Meaning
	build.InternalParameters = wireInternal{p.Options, p.Values, p.Reads, p.Allowances}
	build.ResolvedDependencies = p.Dependencies
	run.Builder.ID = BuilderID
	run.Builder.Version = map[string]string{}
	for component, version := range map[string]string{componentLockage: p.Version, componentRenderer: p.Renderer, componentPacker: p.Packer} {
		if version != "" {
			run.Builder.Version[component] = version
		}
	}
	run.Metadata.StartedOn, run.Metadata.FinishedOn = rfc3339(p.Started), rfc3339(p.Finished)
	run.Byproducts = p.Byproducts
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
	if err := strictjson.Decode(predicate, &w); err != nil {
		return Provenance{}, fmt.Errorf("not SLSA provenance: %w", err)
	}
	if got := w.BuildDefinition.BuildType; got != BuildTypeHydrate {
		return Provenance{}, fmt.Errorf("provenance of build type %.100q, not %s", got, BuildTypeHydrate)
	}
	if got := w.RunDetails.Builder.ID; got != BuilderID {
		return Provenance{}, fmt.Errorf("provenance of builder %.100q, not %s", got, BuilderID)
	}
	build, run := w.BuildDefinition, w.RunDetails
	p := Provenance{
		Claim:        build.ExternalParameters.Claim,
		File:         build.ExternalParameters.File,
		Lock:         build.ExternalParameters.Lock,
		Meaning:      build.ExternalParameters.Meaning,
		Options:      build.InternalParameters.Options,
		Values:       build.InternalParameters.Values,
		Reads:        build.InternalParameters.Reads,
		Allowances:   build.InternalParameters.Allowances,
		Dependencies: build.ResolvedDependencies,
		Byproducts:   run.Byproducts,
		Version:      run.Builder.Version[componentLockage],
		Renderer:     run.Builder.Version[componentRenderer],
		Packer:       run.Builder.Version[componentPacker],
		Started:      run.Metadata.StartedOn,
		Finished:     run.Metadata.FinishedOn,
	}
	if p.Claim == (Claim{}) {
		return Provenance{}, errors.New("provenance has no external parameters")
	}
	return p, nil
}

// rfc3339 converts a time to the specification's Timestamp: UTC, whole seconds.
func rfc3339(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// gitURI returns a git remote in SPDX form (git+https://host/path), without anything that could be a secret.
func gitURI(remote string) string {
	if !strings.Contains(remote, "://") {
		host, path, scp := strings.Cut(remote, ":")
		if !scp || strings.ContainsAny(host, `/\`) || len(host) == 1 { // a folder, perhaps C:\…
			return "git+" + (&url.URL{Scheme: "file", Path: filepath.ToSlash(remote)}).String()
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
		return "git+ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	plain := plainURL(remote)
	if plain == "" {
		return ""
	}
	return "git+" + strings.TrimPrefix(plain, "git+")
}

// plainURL returns a URL without anything that could be a secret; "" for what is none.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "" // it may hold a secret
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
