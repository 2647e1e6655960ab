package policy

import "github.com/lockage/lockage/hydrate/pipeline"

// Kinds of gates that people or the clock satisfy, beside [KindApproval] and [KindReview].
const (
	KindFile   = "file"
	KindWindow = "window"
)

// KindSource is the kind of gate that asks for a signature on the locked commit.
const KindSource = "source"

// Kinds are all kinds of gates, in the order of the documentation.
func Kinds() []pipeline.GateKind {
	return []pipeline.GateKind{
		pipeline.NewGateKind("soak", "The content was live in another stage, without a break, for a time.", parseSoak),
		pipeline.NewGateKind("attestation", "Somebody trusted attested something.", parseAttestation),
		pipeline.NewGateKind(KindApproval, "People approved.", parseApproval),
		pipeline.NewGateKind("reproduced", "Others rendered the artifact again, and it came out equal.", parseReproduced),
		pipeline.NewGateKind("image", "The locked images are signed.", parseImage),
		pipeline.NewGateKind(KindFile, "A file that must exist in the GitOps repository.", parseFile),
		pipeline.NewGateKind(KindWindow, "Times at which promotion is allowed.", parseWindow),
		pipeline.NewGateKind("cel", "A CEL expression over the rendered objects.", parseCEL),
		pipeline.NewGateKind("rego", "A folder of Rego policies in the GitOps repository, or oci://REPOSITORY@DIGEST.", parseRego),
		pipeline.NewGateKind(KindReview, "People approved the pull request.", parseReview),
		pipeline.NewGateKind(KindSource, "The locked commit is signed.", parseSource),
	}
}
