package model

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lockage/lockage/ledger"
)

// declared is what the pipeline file and the files of keys say, as far as histories change it.
type declared struct {
	pipeline   string    // its name
	names      [2]string // of the stages, in the order of promotion
	mirror     string    // its kind
	folder     string    // of the mirror
	repository string    // of artifacts
	approval   bool      // production asks for one
	// promoter and hydrator are the keys in their files, the current one first.
	promoter, hydrator []int
}

// Kinds of mirrors.
const (
	unmirrored  = "none"
	showsNext   = "candidates"
	showsLive   = "what is live"
	generations = 4 // keys of each role
)

// first is what a history begins with, but for the kind of the mirror.
var first = declared{
	pipeline: "web", names: [2]string{staging, production}, folder: "deploy", repository: artifacts, promoter: []int{0}, hydrator: []int{0},
}

// name returns the name of a stage.
func (d declared) name(stage string) string { return d.names[slices.Index(stages, stage)] }

// as returns under which names artifacts of a stage are made.
func (d declared) as(stage string) string { return d.pipeline + "/" + d.name(stage) }

// claim returns what records of a stage name.
func (d declared) claim(stage string) string { return d.as(stage) + " in " + d.repository }

// liveRef returns the branch that records what is live in a stage, and the folder on it.
func (d declared) liveRef(stage string) ledger.Place {
	switch d.mirror {
	case unmirrored:
		return ledger.Place{Branch: "live/" + d.as(stage), Path: "manifests"}
	case showsNext:
		return ledger.Place{Branch: "live/" + d.as(stage), Path: d.stageBranch(stage).Path}
	}
	return d.stageBranch(stage)
}

// stageBranch returns the place of a stage's branch.
func (d declared) stageBranch(stage string) ledger.Place {
	return ledger.Place{Branch: "stage/" + d.name(stage), Path: path.Join(d.folder, d.name(stage))}
}

// shows reports whether stage branches show candidates.
func (d declared) shows() bool { return d.mirror == showsNext }

// candidates is the branch of the candidates.
func (d declared) candidates() string { return "candidates/" + d.pipeline }

// branches are those that a writer of the ledger and of stage branches can push to.
func (d declared) branches() []string {
	all := []string{d.candidates()}
	for _, s := range stages {
		all = append(all, d.liveRef(s).Branch)
		if d.shows() {
			all = append(all, d.stageBranch(s).Branch)
		}
	}
	return all
}

// file returns the pipeline file. Private keys are in a folder.
func (d declared) file(keys string) map[string]string {
	mirror := map[string]string{
		unmirrored: "",
		showsNext:  "mirror: {path: \"" + d.folder + "/{stage}\"}\n",
		showsLive:  "mirror: {path: \"" + d.folder + "/{stage}\", when: promote}\n",
	}[d.mirror]
	gates := ""
	if d.approval {
		gates = ", gates: [{approval: {by: [sre]}}]"
	}
	return map[string]string{"lockage.yaml": strings.NewReplacer(
		"NAME", d.pipeline, "ARTIFACTS", d.repository, "MIRROR", mirror, "STAGING", d.names[0], "PRODUCTION", d.names[1], "GATES", gates,
		"HYDRATOR", filepath.Join(keys, keyName("hydrator", d.hydrator[0])+".key"),
		"PROMOTER", filepath.Join(keys, keyName("promoter", d.promoter[0])+".key"),
	).Replace(pipelineFile)}
}

func keyName(role string, generation int) string { return fmt.Sprint(role, "-", generation) }

// publicKeys returns the files of the keys.
func (s *shared) publicKeys(d declared) map[string]string {
	files := map[string]string{}
	for role, all := range map[string][]int{"hydrator": d.hydrator, "promoter": d.promoter} {
		for _, generation := range all {
			files["keys/"+role+".pub"] += s.public[keyName(role, generation)]
		}
	}
	return files
}
