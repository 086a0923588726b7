# What Puppet sees to on each machine. `services/puppet/service.yaml` states which files that may change.
file { '/etc/motd':
  ensure  => file,
  content => "Puppet sees to this file; change it in services/puppet.\n",
  mode    => '0644',
}
