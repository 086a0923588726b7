// Package libvirt is one file of the Terraform provider, other than it was: how long the provider waits. The build of the
// plugin puts it there.
//
// Libvirt answers when what it was asked for is done. The provider sleeps 200 ms before it first looks whether a network or
// a pool is there, or gone, which a stage's machines would wait for.
package libvirt

import "time"

const (
	resourceStateTimeout    = time.Minute
	resourceStateDelay      = 0
	resourceStateMinTimeout = 100 * time.Millisecond
)
