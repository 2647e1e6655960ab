package pipeline

import "cmp"

// Ledger names the refs in Git that record what is: the candidates of a pipeline, and what is live in each stage.
type Ledger struct {
	Remote     string `yaml:"remote" jsonschema_description:"A remote of the GitOps checkout, or a URL. Default: the mirror's remote, else origin."`
	Live       string `yaml:"live" jsonschema:"default=live/{pipeline}/{stage}" jsonschema_description:"The branch that records what is live in a stage, one for each. With mirror.when: promote it is the stage branch."`
	Candidates string `yaml:"candidates" jsonschema:"default=candidates/{pipeline}" jsonschema_description:"The branch that records the candidates of a pipeline."`
}

// defaultPath is the directory on the live ref of a stage without a mirror.
const defaultPath = "manifests"

// withDefaults returns the ledger of a stage whose mirror has its defaults.
func (l Ledger) withDefaults(pipeline, stage string, m *Mirror) Ledger {
	remote := "origin"
	if m != nil {
		remote = m.Remote
	}
	l.Remote = cmp.Or(l.Remote, remote)
	l.Live = cmp.Or(l.Live, "live/"+pipeline+"/"+stage)
	l.Candidates = cmp.Or(l.Candidates, "candidates/"+pipeline)
	return l
}

// LiveRef is the place in Git that records what is live in a stage.
type LiveRef struct{ Remote, Branch, Path string }

// LiveRef returns the place that records what is live in the stage: its stage branch if promotion writes that.
func (e Expanded) LiveRef() LiveRef {
	at := LiveRef{e.Ledger.Remote, e.Ledger.Live, defaultPath}
	if m := e.Mirror; m != nil {
		at.Path = m.Path
		if m.ShowsLive() {
			at.Remote, at.Branch = m.Remote, m.Branch
		}
	}
	return at
}

// checkLedger checks the ledger of an expanded stage.
func (e effective) checkLedger(c *checker) {
	d := e.doc
	c.repositoryURL(d, "ledger", "remote")
	c.rule(d, branch, "ledger", "live")
	c.rule(d, branch, "ledger", "candidates")
	if n := d.Find("ledger", "live"); n != nil && e.Mirror.ShowsLive() {
		c.add(n.Pos, "ledger.live: with mirror.when: promote the stage branch records what is live: remove one of the two keys")
	}
}
