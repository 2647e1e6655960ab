package scaffold

import "github.com/lockage/lockage/hydrate/lock"

// Options are what Find cannot know.
type Options struct {
	Repository  string   // the name of the source repository, for packages in folders such as deploy or chart
	SourcePaths []string // of the packages that are wanted, files.Glob patterns; none means all
	Stages      []string // of packages without environments
	SameSource  bool     // the source is the GitOps repository
	Images      bool     // locks have an image
	Chart       string   // the URL of an upstream chart, which is the only package then; "" for those of the source
	Versions    string   // the range of its versions

	Warn func(message string) // is given what was not looked at
}

// Draft is a pipeline before it is written.
type Draft struct {
	Name       string
	Kind       lock.Kind
	SourcePath string // of the package in the source repository
	Chart      string // the URL of an upstream chart instead
	Versions   string // the range of its versions; "" for the highest
	Locks      string // the folder of its locks
	Lock       *lock.Lock

	Found     []string // what was found where, for the comment at the top
	Vars      string
	Release   string
	Namespace string
	Values    []string // values files as YAML, each one item of a list
	Set       []string // key: value
	Overlay   string   // a folder of the GitOps repository
	Base      string   // a folder of the package
	Component string   // a folder of the GitOps repository
	Stages    []Stage
}

// Stage is a stage of a draft.
type Stage struct {
	Name   string
	Render []string // its own options, each a line of YAML
	Off    string   // why it does not render, and is commented out unless no stage does; "" for a stage that counts

	Auto bool // whether promote --ready promotes to it

	after []string
}

// Broken reports whether no stage of the draft counts.
func (d Draft) Broken() bool {
	for _, s := range d.Stages {
		if s.Off == "" {
			return false
		}
	}
	return true
}

// Order decides anew which stage comes after which, without those that do not count.
func (d Draft) Order() { order(d.Stages) }
