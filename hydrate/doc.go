// Package hydrate renders the package of a locked source (a chart, say) to an ordered tree of Kubernetes objects, one stage
// at a time:
//
//	Renderer ──▶ []Manifest ──▶ Decoder ──▶ []Object ──▶ Layout ──▶ Tree
//
// # What it promises
//
//   - Objects are decoded as Kubernetes' clients decode them: YAML 1.1 by the rules of sigs.k8s.io/yaml (`yes` is true,
//     of keys given twice the last one wins, of a stream the first document counts), integers exact instead of
//     rounded through float64, lists unwrapped as apimachinery's unstructured decoder unwraps them.
//   - A document is an object, a list of objects, or empty. Anything else is an error that names template, document and
//     line: nothing reaches a cluster that was not decoded here.
//   - The tree is a function of the set of objects: neither their order nor the order of keys shows in it. Objects that
//     SOPS encrypted (those with a top-level key `sops`) keep their keys in order and their scalars as written, since
//     their MAC covers both.
//   - What is written reads back as the same values under YAML 1.1 and YAML 1.2.
//   - The output is a function of the inputs. Templates have the time of the locked commit, and random numbers of a seed that
//     is the input digest: a render that draws some is done twice, by other numbers, and names what came out differently. So is one
//     that generates keys or certificates, which is the exception, and has to be allowed.
//
// # What it refuses
//
//   - documents without apiVersion, kind, or a metadata.name or metadata.generateName that is a string;
//   - two objects of one group, kind, namespace and name;
//   - output that depends on random numbers, which every reader can compute, Secrets in the clear, a locked image that does not occur and, if required, images
//     without digest, unless the stage waives the rule; no error contains a value of an object;
//   - input beyond the bounds named in object.go.
//
// The package imports no chart engine, no Git and no registry: it declares [Renderer] and [Package].
package hydrate
