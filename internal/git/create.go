package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	gogit "github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Create makes a repository of the folder dir, with one commit of all files in it on a branch, and a bare copy of it in
// bare, which becomes its remote origin, unless bare is empty.
func Create(dir, bare, branch string, n NewCommit) (_ Hash, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make repository %s: %w", dir, err)
		}
	}()
	repo, err := gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{
		InitOptions: gogit.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(branch)},
	})
	if err != nil {
		return "", err
	}
	tree, err := repo.Worktree()
	if err != nil {
		return "", err
	}
	if err := tree.AddWithOptions(&gogit.AddOptions{All: true}); err != nil {
		return "", err
	}
	who := &object.Signature{Name: n.By.Name, Email: n.By.Email, When: n.When}
	id, err := tree.Commit(n.Message, &gogit.CommitOptions{Author: who, Committer: who})
	if err != nil || bare == "" {
		return hashOf(id), err
	}
	return hashOf(id), addOrigin(repo, dir, bare, branch)
}

// addOrigin makes a bare copy of a repository and adds it as its remote origin, as a clone has it.
func addOrigin(repo *gogit.Repository, dir, bare, branch string) error {
	if err := os.CopyFS(bare, os.DirFS(filepath.Join(dir, gogit.GitDirName))); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(bare, "index")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	remote, err := gogit.PlainOpen(bare)
	if err != nil {
		return err
	}
	conf, err := remote.Config()
	if err != nil {
		return err
	}
	conf.Core.IsBare, conf.Core.Worktree = true, ""
	if err := remote.SetConfig(conf); err != nil {
		return err
	}
	if _, err := repo.CreateRemote(&gitconfig.RemoteConfig{Name: "origin", URLs: []string{bare}}); err != nil {
		return err
	}
	return repo.CreateBranch(&gitconfig.Branch{Name: branch, Remote: "origin", Merge: plumbing.NewBranchReferenceName(branch)})
}
