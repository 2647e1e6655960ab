package policy

import "github.com/lockage/lockage/hydrate/pipeline"

// file asks that a file exists in the GitOps repository at the policy ref.
type file string

func parseFile(name string, d *pipeline.Declaration) pipeline.Condition {
	d.Rule("", pipeline.RepositoryPath)
	return file(name)
}

func (file) Signers() pipeline.Signers { return pipeline.Signers{} }

func (name file) Need(n *Needs) { n.Files = append(n.Files, string(name)) }

func (name file) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	if f.Exists[string(name)] {
		return pass("%s exists on the policy ref", plain(string(name)))
	}
	return fail("%s does not exist on the policy ref: commit it there", plain(string(name)))
}
