// Package kustomize renders kustomizations with kustomize's API, in process. It is the only home of kustomize's SDK.
//
// # What it promises
//
// The objects equal those of `kustomize build` of the release whose modules go.mod names: bases, components, patches,
// generators with hash suffixes, replacements, vars, configurations, the built-in plugins. Tests compare with the upstream
// binary. Differences, on purpose:
//
//   - A remote base that names the source repository, in any form that kustomize takes, is read at the locked commit.
//     Another `ref` than that is a warning. With `buildMetadata: [originAnnotations]` its objects are annotated with their
//     paths in the virtual tree below instead of a URL.
//   - An entry of `images`, in any kustomization of either repository, whose newName or name is the repository of a
//     locked image gives that image by digest; its tag is dropped. So does one whose name is render.image, and the overlay
//     itself gets an entry of that name if it has none.
//
// The build is hermetic. Kustomize sees a read-only tree in memory: /source is the locked commit, /gitops the GitOps
// commit, /generated a generated overlay. Every kustomization file is checked before kustomize sees it, since nothing could
// stop kustomize later from running git or using the network. Files are read when the build asks for them, and
// [hydrate.Package.Inputs] lists all that it asked for, absent files included.
//
// # What it refuses
//
// With file and line: remote bases of other repositories and files behind URLs; helmCharts; generators, transformers and
// validators that are not built in, and folders of them; absolute paths; bases outside of their repository; files outside
// of the folder of their kustomization. Kustomize's own refusals stand.
//
// # A generated overlay
//
// A component is a folder of the GitOps repository if there is one of that name, and else one below the lock's sourcePath.
//
// # Limits
//
// Kustomize keeps OpenAPI schemas in global variables: builds of one process run one after the other, and each one's
// schemas are reset before the next. Kustomize writes warnings about deprecated fields to standard error by itself; they are
// among the warnings of the render too, with file and line.
package kustomize
