// Package scaffold writes the first pipeline files of a repository.
//
// Find looks for what can be released: Helm charts, kustomizations, folders of deployments in the GitOps repository, and the
// Applications and ApplicationSets of Argo CD that deploy them. It reads names and metadata, and renders nothing. What belongs to
// one application is one Draft, whose stages are environments: folders of overlays, values files named by an environment, or the
// folders of deployments. A stage comes after those of the environments before it, development first and production last.
//
// A Draft is written as a pipeline file with comments, which the package pipeline reads without an edit. Nothing that Find cannot
// know is invented: Options has it.
package scaffold
