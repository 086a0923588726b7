package provider

import (
	"os"
	"time"
)

// DieWithParent ends this process soon after the engine that started it has ended. The bridge looks for its engine every
// five minutes: until then what a killed update had begun would go on beside the next one.
func DieWithParent() {
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(200 * time.Millisecond)
		}
		os.Exit(1)
	}()
}
